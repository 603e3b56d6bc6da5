"""What a command asks for, held against what is there: all that can be wrong before a model loads.

Nothing here takes long to import, so that a slip is told at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from annotate.config.settings import AnnotateCommand, deciding
from annotate.data.types import ClassList, Item
from annotate.discover import listing
from annotate.discover.class_list import load_prompts
from annotate.discover.dataset import Dataset
from annotate.errors import ConfigError
from annotate.ground.base import Grounder
from annotate.record import versions
from annotate.runner.exports import Exporter, make_exporters, say_what_no_record_holds
from annotate.runner.units import Shard, Unit, cut, share, to_do
from annotate.segment.base import NO_MEMORY, Segmenter
from annotate.store.remote import allow, is_url
from annotate.verify.base import Verifier

NO_SCORES = "has no scores: all of its boxes have 1, and no threshold tells them apart"


@dataclass(frozen=True, slots=True)
class Plan:
    """A command that can be carried out, as far as one can tell without its models."""

    settings: AnnotateCommand
    classes: ClassList
    found: Dataset
    shard: Shard | None
    exporters: Mapping[str, Exporter]

    @property
    def units(self) -> list[Unit]:
        """The work of this command, done or not: of the whole dataset, of a shard, of a sample."""
        settings = self.settings
        units = share(cut(self.found.items, settings.runner.part_items), self.shard)
        if settings.limit is None:
            return units
        return to_do(units, {item.name for item in sample(self.found.items, settings.limit)})

    @property
    def notes(self) -> list[str]:
        """What was found beside the items, or is likely to be a slip, a line each."""
        notes = []
        if self.settings.dataset.kind != "demo":
            notes = [str(self.found.left_out), self.found.hint]
        limit, found = self.settings.limit, len(self.found.items)
        if limit is not None and limit < found:
            notes.append(
                f"limit={limit}: {limit:,} of {found:,} items, spread over the dataset; the same "
                "command without it goes on from there"
            )
        for grounder in self.settings.grounder.parts:
            if not getattr(grounder.locate(), "has_scores", True):
                notes.append(f"{grounder.shown} {NO_SCORES}")
        has_memory = getattr(self.settings.segmenter.locate(), "has_memory", False)
        if not has_memory and any(item.media == "video" for item in self.found.items):
            notes.append(f"segment: {NO_MEMORY}")
        return [note for note in notes if note]

    @property
    def may_redo(self) -> bool:
        """Whether records may be made anew in place; ConfigError where some would be lost by it."""
        settings = self.settings
        if settings.on_change != "redo":
            return False
        for key, value in (("shard", settings.shard), ("limit", settings.limit)):
            if value is not None:
                raise ConfigError(
                    f"on_change=redo with {key}={value}: records of all items would go; say "
                    f"on_change=new, or begin it once without {key}="
                )
        return True

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the records: where it runs and how it is batched do not."""
        settings = self.settings
        return {
            "version": versions.program(),
            "kind": _kind(settings),
            "ground": settings.grounder.deciding() | deciding(settings.ground),
            "tile": deciding(settings.tile) if settings.tile.size is not None else {"size": None},
            "segment": settings.segmenter.deciding() | deciding(settings.segment),
            "verify": settings.verifier.deciding() | deciding(settings.verify),
            "track": deciding(settings.track),
            "decode": deciding(settings.decode),
            "video": deciding(settings.video),
        }

    def run_folders(self) -> Iterator[Path | str]:
        """The run folder, then those beside it that `on_change=new` takes: DIR-2, DIR-3, ..."""
        first = run_folder(self.settings)
        yield first
        for number in count(2):
            if isinstance(first, Path):
                yield first.with_name(f"{first.name}-{number}")
            else:
                yield f"{first}-{number}"


def plan(settings: AnnotateCommand) -> Plan:
    """Look at everything that a command names. Raises AnnotateError with what is wrong.

    The demo is generated where it is asked for and not there.
    """
    allow(settings.store.protocols)
    shard = Shard.parse(settings.shard) if settings.shard else None
    exporters = make_exporters(settings)
    settings.grounder.make(Grounder)
    settings.segmenter.make(Segmenter)
    settings.verifier.make(Verifier)
    targets = [*settings.grounder.parts, *settings.segmenter.parts, *settings.verifier.parts]
    for target in targets:
        budget = target.arguments.get("budget")
        if budget is not None and settings.executor == "ray":
            raise ConfigError(
                f"{target.at}.budget={budget}: is counted in one process; say executor=local, or "
                f"{target.at}.budget=null"
            )
    for target in targets:
        services = getattr(target.locate(), "services", ())
        for value in (v for key, v in target.arguments.items() if key not in services):
            is_url(value)  # raises for those that are not opened, before there is a run folder
    _make_demo(settings)  # which has the class list in it
    classes = load_prompts(settings.prompts)
    _examples_are_taken(settings, classes)
    say_what_no_record_holds(settings.ground.floor, settings.threshold, classes)
    found = dataset_of(settings)
    if settings.gates.truth is not None:
        from annotate.runner import gates  # which take what computes scores

        gates.check(settings.gates, classes, [item.name for item in found.items])
    return Plan(settings, classes, found, shard, exporters)


def _examples_are_taken(settings: AnnotateCommand, classes: ClassList) -> None:
    """ConfigError for a class with examples that a grounder would not look at."""
    shown = next((spec.name for spec in classes.classes if spec.like), None)
    for grounder in settings.grounder.parts if shown is not None else ():
        if not getattr(grounder.locate(), "takes_examples", False):
            raise ConfigError(
                f"class {shown!r} has like:, and {grounder.shown} is asked by phrases alone; "
                "ground=owlv2 finds what looks like examples"
            )


def sample(items: tuple[Item, ...], size: int) -> tuple[Item, ...]:
    """So many of the items, in their order: spread over all, and the same ones in a larger sample.

    Every folder has its turn, with its stills and with its videos, before one has the next. Names
    alone decide, so that a sample stays much the same as a dataset grows.
    """
    chance = {item.name: hashlib.sha256(item.name.encode()).digest() for item in items}
    turns: Counter[tuple[str, str]] = Counter()
    order: list[tuple[int, bytes, str]] = []
    for item in sorted(items, key=lambda item: chance[item.name]):
        group = item.name.rpartition("/")[0], item.media
        order.append((turns[group], chance[item.name], item.name))
        turns[group] += 1
    chosen = {name for _, _, name in sorted(order)[:size]}
    return tuple(item for item in items if item.name in chosen)


def run_folder(settings: AnnotateCommand) -> Path | str:
    """Where the records go: a path, or the url of one on a store."""
    if settings.out:
        on_store = is_url(settings.out)
        return settings.out.rstrip("/") if on_store else listing.expand(settings.out)
    if settings.dataset.kind == "fiftyone":  # a dataset, or dataset/view
        name = re.sub(r"[^\w.-]+", "-", settings.dataset.path).strip(".-")
        return Path("runs") / (settings.dataset.name or name or "dataset")
    path = Path(settings.dataset.path)
    if not is_url(settings.dataset.path):
        path = listing.expand(settings.dataset.path)
    fixed = next((p for p in (path, *path.parents) if not set(p.name) & set("*?[")), path)
    name = fixed.resolve().name if fixed.is_dir() else fixed.stem
    return Path("runs") / (settings.dataset.name or name or "dataset")


def dataset_of(settings: AnnotateCommand) -> Dataset:
    """The dataset that settings name, which is made where it is the demo. Raises AnnotateError."""
    _make_demo(settings)
    found = listing.discover(settings.dataset.path, kind=_kind(settings))
    items = (replace(item, depth=settings.decode.depth) for item in found.items)
    return replace(found, items=tuple(items))


def _make_demo(settings: AnnotateCommand) -> None:
    if settings.dataset.kind == "demo":
        from annotate.synthetic.demo import ensure_demo

        ensure_demo(Path(settings.dataset.path))


def _kind(settings: AnnotateCommand) -> str:
    return "auto" if settings.dataset.kind == "demo" else settings.dataset.kind
