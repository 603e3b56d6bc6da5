"""The card of a dataset: a README in each export, which says what it is and how it was made.

It has no clock, and no name of a folder, which may move: the same export writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml

from annotate.data.selection import Tally
from annotate.models.facts import licence_of

if TYPE_CHECKING:
    from annotate.record.run_folder import Run

ROLES = {"ground": "boxes", "segment": "masks", "verify": "second opinions"}


def card(
    run: Run,
    *,
    format_name: str,
    loading: str,
    front_matter: Mapping[str, Any],
    threshold: float,
    only: str,
    sets: Sequence[str],
    tally: Tally,
    not_held: Mapping[str, int],
) -> str:
    """The text of a README.md; `sets` are the names of a split, "" stands for none."""
    asked, classes = _asked(run), run.classes
    head = (
        f"---\n{yaml.safe_dump(dict(front_matter), sort_keys=False)}---\n" if front_matter else ""
    )
    lines = [
        f"# Objects in pictures, as {format_name}",
        f"{tally.images.total():,} pictures with {tally.instances.total():,} instances of "
        f"{len(classes)} classes, found by annotate {asked.get('version', '')} and not drawn by "
        "hand.",
        "## Load it",
        f"```python\n{loading.strip()}\n```",
        "`pictures.jsonl` says which frame of the dataset each picture is.",
        "## Labels",
        *_table(run, threshold, sets, tally),
        "## How they were made",
        *_models(run, asked),
        f"- score from which an instance is here: {threshold:g}, unless its class has its own; "
        f"recorded from {(asked.get('ground') or {}).get('floor', 0):g} on",
        "## Review",
        *_review(run, only),
        "## Not in it",
        *(
            [f"- {what}: {count:,}" for what, count in sorted(tally.left_out.items()) if count]
            or ["- nothing was left out"]
        ),
        *(
            f"- no place for it in this format: {what}, {n:,}"
            for what, n in sorted(not_held.items())
        ),
        "## Licences",
        "- of the pictures: that of the dataset, which annotate does not know",
        *_licences(run),
    ]
    return head + _joined(lines)


def _asked(run: Run) -> Mapping[str, Any]:
    """What the run was asked; of one that was made in Python nothing need be written."""
    return run.asked() if (run.path / "config.yaml").is_file() else {}


def _joined(lines: Sequence[str]) -> str:
    """Paragraphs apart, lists and tables together."""
    text = ""
    for line in lines:
        together = line[:1] in "-|" and text.rpartition("\n")[2][:1] == line[:1]
        text += ("\n" if together else "\n\n" if text else "") + line
    return text + "\n"


def _table(run: Run, threshold: float, sets: Sequence[str], tally: Tally) -> list[str]:
    heads = [name or "instances" for name in sets]
    rows = [
        ["class", "phrases", "score from", *heads],
        ["---", "---", "---:", *["---:"] * len(sets)],
    ]
    limits = run.classes.thresholds(threshold)
    for i, spec in enumerate(run.classes.classes):
        counts = [f"{tally.instances[name, i]:,}" for name in sets]
        rows.append([_cell(spec.name), _cell(", ".join(spec.phrases)), f"{limits[i]:g}", *counts])
    rows.append(["pictures", "", "", *(f"{tally.images[name]:,}" for name in sets)])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _models(run: Run, asked: Mapping[str, Any]) -> list[str]:
    said = []
    for role, what in ROLES.items():
        weights = run.weights().get(role) or {}
        target = str((asked.get(role) or {}).get("_target_", ""))
        model = weights.get("model") or target
        if not model or model.endswith("NoVerifier"):
            continue
        revision = weights.get("revision") or weights.get("sha256")
        # A folder of this machine says nothing to others.
        shown = PurePath(model).name if PurePath(model).is_absolute() else str(model)
        said.append(f"- {what}: {_cell(shown)}" + (f" at `{revision}`" if revision else ""))
    return said


def _review(run: Run, only: str) -> list[str]:
    counts = run.decisions().counts
    if not counts:
        return ["Nobody has looked through it yet: `annotate review` opens it."]
    taken = {"all": "everything that was not rejected", "reviewed": "what a person decided on"}
    return [
        f"- in this export: {taken.get(only, 'what was accepted')} (`only={only}`)",
        *(f"- {kind}: {count:,}" for kind, count in counts.items()),
    ]


def _licences(run: Run) -> list[str]:
    said = []
    for role, what in ROLES.items():
        model = (run.weights().get(role) or {}).get("model")
        if isinstance(model, str) and (licence := licence_of(role, model)):
            said.append(f"- of the weights that made {what}, {model}: {licence}")
    return said


def _cell(text: str) -> str:
    """As it stands, in a table and outside of one."""
    plain = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\|<>*_`[]#" else c for c in plain)
