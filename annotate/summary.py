"""What a run came to: counts from the records, gates, a table for people and json for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from annotate.run_folder import Run

LISTED_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """What the records of a run hold."""

    ok: int  # items
    failed: int  # items
    frames: int
    recorded: dict[str, int]  # instances per class, down to the record floor
    kept: dict[str, int]  # instances per class, from the export threshold
    failures: list[dict[str, str]]  # item and reason, the first few


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit that a run must keep for exit code 0."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything `summary.json` says."""

    status: str
    exit_code: int
    run: str
    version: str
    models: Mapping[str, Any]
    items: Mapping[str, int]
    counts: Counts
    seconds: Mapping[str, float]
    gates: Sequence[Gate] = field(default=())
    exports: Sequence[Mapping[str, Any]] = field(default=())

    def write(self, path: Path) -> None:
        """Write `summary.json` into the run folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str)
        (path / "summary.json").write_text(text + "\n", encoding="utf-8")


def clear(path: Path) -> None:
    """Take back the summary of an earlier run in this folder: until the end, there is none."""
    (path / "summary.json").unlink(missing_ok=True)


def count(run: Run, threshold: float) -> Counts:
    """Count items and instances, reading only the columns that are needed."""
    names = run.classes.names
    limits = [threshold if c.threshold is None else c.threshold for c in run.classes.classes]
    recorded, kept = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    items: set[str] = set()
    failed: set[str] = set()
    failures: list[dict[str, str]] = []
    frames = 0
    columns = ["item", "status", "error", "instances"]
    for batch in run.table().to_batches(columns=columns):
        for item, status, error in zip(*(batch[c].to_pylist() for c in columns[:3]), strict=True):
            items.add(item)
            if status == "ok":
                frames += 1
            else:
                failed.add(item)
                if len(failures) < LISTED_FAILURES:
                    failures.append({"item": item, "error": error})
        flat = pc.list_flatten(batch["instances"])
        class_ids = flat.field("class_id").to_numpy(zero_copy_only=False)
        scores = flat.field("score").to_numpy(zero_copy_only=False)
        for class_id, name in enumerate(names):
            of_class = scores[class_ids == class_id]
            recorded[name] += len(of_class)
            kept[name] += int((of_class >= limits[class_id]).sum())
    return Counts(len(items - failed), len(failed), frames, recorded, kept, failures)


def table(summary: Summary) -> str:
    """The summary for a terminal."""
    counts, items = summary.counts, summary.items
    width = max([len("class"), *(len(name) for name in counts.kept)])
    lines = [
        f"{'class':<{width}}  {'kept':>8}  {'recorded':>8}",
        *(
            f"{name:<{width}}  {counts.kept[name]:>8}  {counts.recorded[name]:>8}"
            for name in counts.kept
        ),
        f"{'total':<{width}}  {sum(counts.kept.values()):>8}  {sum(counts.recorded.values()):>8}",
        "",
        f"items: {counts.ok} ok, {counts.failed} failed ({items['new']} done now, "
        f"{items['before']} before); {counts.frames} frames",
    ]
    lines += [f"  failed: {f['item']}: {f['error']}" for f in counts.failures]
    if counts.failed > len(counts.failures):
        lines.append(f"  ... and {counts.failed - len(counts.failures)} more, in the records")
    if items["new"] and summary.seconds.get("annotate"):
        rate = items["new"] / summary.seconds["annotate"]
        stages = ", ".join(f"{k} {v:.1f} s" for k, v in summary.seconds.items())
        lines.append(f"rate: {rate:.1f} items/s ({stages})")
    for export in summary.exports:
        lines.append(f"export: {export['format']} -> {export['path']}")
    lines += [
        f"gate failed: {g.name} is {g.value:g}, the limit is {g.limit:g}"
        for g in summary.gates
        if not g.passed
    ]
    return "\n".join(lines)
