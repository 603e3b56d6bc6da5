"""Buttons and keys of the App: accept, reject, fix, and the way between stills and videos.

Loaded by FiftyOne's server (see fiftyone.yml beside this). An operator does what a person could do
with the tags of the App, in one go; `pull` knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from annotate.data.decisions import TRACK_TAGS, VERDICTS
from annotate.review.app import QUEUE
from annotate.review.documents import INSTANCES

KEYS = {"accept": "y", "reject": "n", "fix": "u"}  # as keys.js has them


class _Verdict(foo.Operator):  # type: ignore[misc]
    """Tags what is chosen with one verdict and no other; a second time takes it back."""

    verdict: str

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name=self.verdict, label=f"{self.verdict} the chosen")

    def resolve_placement(self, ctx: Any) -> Any:
        label = f"{self.verdict} ({KEYS[self.verdict]})"
        if ctx.current_sample:
            button = types.Button(label=label, prompt=False)
            return types.Placement(types.Places.SAMPLES_VIEWER_ACTIONS, button)
        # The bar above the grid hides what comes last in it; the header shows all.
        button = types.Button(label=label, prompt=False, icon=f"/{self.verdict}.svg")
        return types.Placement(types.Places.HEADER_ACTIONS, button)

    def execute(self, ctx: Any) -> None:
        labels, dataset = ctx.selected_labels, ctx.dataset
        of_track = bool(ctx.params.get("track"))
        if labels:
            tags = TRACK_TAGS if of_track else VERDICTS
            tag = next(t for t in tags if t.startswith(self.verdict))
            said = _tag_labels(dataset, labels, tag, tags)
            ctx.ops.clear_selected_labels()
            what = _counted(len(labels), "instance")
        elif ids := [ctx.current_sample] if ctx.current_sample else list(ctx.selected or ()):
            said = _tag_samples(dataset.select(ids), self.verdict)
            ctx.ops.clear_selected_samples()
            kind = "video" if dataset.media_type == "video" else "picture"
            what, tag = _counted(len(ids), kind), self.verdict
        else:
            ctx.ops.notify("open a picture or tick some first", variant="info")
            return
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"{what}: {tag}{'' if said else ' taken back'}", variant="success")


def _tag_samples(view: Any, verdict: str) -> bool:
    """Whether the tag is there now."""
    there = all(verdict in tags for tags in view.values("tags"))
    view.untag_samples(list(VERDICTS))
    if not there:
        view.tag_samples(verdict)
    return not there


def _tag_labels(dataset: Any, labels: list[Any], tag: str, tags: Iterable[str]) -> bool:
    view = dataset.select_labels(labels=labels)
    fields = sorted({label["field"] for label in labels})
    counts = view.count_label_tags(label_fields=fields)
    there = counts.get(tag, 0) == len(labels)
    view.untag_labels(list(tags), label_fields=fields)
    if not there:
        view.tag_labels(tag, label_fields=fields)
    return not there


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Accept(_Verdict):
    verdict = "accept"


class Reject(_Verdict):
    verdict = "reject"


class Fix(_Verdict):
    verdict = "fix"


class Other(foo.Operator):  # type: ignore[misc]
    """The way to the other dataset of the run: from its stills to its videos and back."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="other", label="To the videos, or the stills")

    def resolve_placement(self, ctx: Any) -> Any:
        other = ctx.dataset.info.get("other")
        if not other or ctx.current_sample:
            return None
        kind = other["kind"]
        button = types.Button(label=f"to the {kind}", prompt=False, icon=f"/{kind}.svg")
        return types.Placement(types.Places.HEADER_ACTIONS, button)

    def execute(self, ctx: Any) -> None:
        if other := ctx.dataset.info.get("other"):
            ctx.ops.open_dataset(other["name"])


class AtTheQueue(foo.Operator):  # type: ignore[misc]
    """Shows a dataset that is opened at its queue, with the verdicts on the pictures."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="at_the_queue", label="Least certain first", on_dataset_open=True
        )

    def execute(self, ctx: Any) -> None:
        if not ctx.dataset.has_saved_view(QUEUE):
            return  # none of ours
        if not ctx.has_custom_view:
            ctx.ops.set_view(name=QUEUE)
        framed = "frames." if ctx.dataset.media_type == "video" else ""
        ctx.ops.set_active_fields(["tags", "_label_tags", f"{framed}{INSTANCES}"])


def register(plugin: Any) -> None:
    """Called by FiftyOne."""
    for operator in (Accept, Reject, Fix, Other, AtTheQueue):
        plugin.register(operator)
