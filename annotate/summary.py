"""What a run came to: counts from the records, gates, a table for people and json for machines."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate import durable
from annotate.gates import Gate
from annotate.run_folder import Run

LISTED_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """What the records of a run hold."""

    ok: int  # items
    failed: int  # items
    frames: int
    annotated: int  # frames with an instance from the export threshold on
    recorded: dict[str, int]  # instances per class, down to the record floor
    kept: dict[str, int]  # instances per class, from the export threshold
    failures: list[dict[str, str]]  # item and reason, the first few


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything `summary.json` says."""

    status: str  # done | gate_failed | interrupted | stopped
    exit_code: int
    run: str
    version: str
    models: Mapping[str, Any]
    libraries: Mapping[str, Sequence[str]]  # versions that made the records, the last one last
    items: Mapping[str, int]  # found, done now, done before
    changes: Mapping[str, Any]  # of the dataset since the last run, and what was retried
    counts: Counts | None  # None where the run has not come to its end
    seconds: Mapping[str, float]
    gates: Sequence[Gate] = field(default=())
    exports: Sequence[Mapping[str, Any]] = field(default=())
    error: str = ""  # why it stopped

    def write(self, path: Path) -> None:
        """Write it as json. Raises StorageError."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str)
        durable.write_text(path, text + "\n")


def count(run: Run, threshold: float, items: Collection[str] | None = None) -> Counts:
    """Count these items (None: all) and their instances, reading only the columns needed."""
    names = run.classes.names
    limits = np.array(run.classes.thresholds(threshold), np.float32)
    recorded, kept = np.zeros(len(names), int), np.zeros(len(names), int)
    seen: set[str] = set()
    failed: set[str] = set()
    failures: list[dict[str, str]] = []
    frames = annotated = 0
    columns = ["item", "status", "error", "instances"]
    for whole in run.table().to_batches(columns=columns):
        batch = whole
        if items is not None:
            batch = whole.filter(pa.array([item in items for item in whole["item"].to_pylist()]))
        for item, status, error in zip(*(batch[c].to_pylist() for c in columns[:3]), strict=True):
            seen.add(item)
            if status == "ok":
                frames += 1
            else:
                failed.add(item)
                if len(failures) < LISTED_FAILURES:
                    failures.append({"item": item, "error": error})
        flat = pc.list_flatten(batch["instances"])
        class_ids = flat.field("class_id").to_numpy(zero_copy_only=False)
        counting = flat.field("score").to_numpy(zero_copy_only=False) >= limits[class_ids]
        frame_of = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
        annotated += len(np.unique(frame_of[counting]))
        recorded += np.bincount(class_ids, minlength=len(names))
        kept += np.bincount(class_ids[counting], minlength=len(names))
    return Counts(
        ok=len(seen - failed),
        failed=len(failed),
        frames=frames,
        annotated=annotated,
        recorded=dict(zip(names, recorded.tolist(), strict=True)),
        kept=dict(zip(names, kept.tolist(), strict=True)),
        failures=failures,
    )


def table(summary: Summary) -> str:
    """The summary of a run that came to its end, for a terminal."""
    counts, items, changes = summary.counts, summary.items, summary.changes
    assert counts is not None
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
    told = {k: n for k in ("changed", "retried", "removed") if (n := changes[k])}
    if told:
        lines.append("since the last run: " + ", ".join(f"{n} {k}" for k, n in told.items()))
    lines += [f"  gone from the dataset: {_one_line(item)}" for item in changes["removed_items"]]
    lines += [f"  failed: {_one_line(f['item'])}: {f['error']}" for f in counts.failures]
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


def _one_line(name: str) -> str:
    """A file name that cannot break a line or steer a terminal."""
    return name if name.isprintable() else repr(name)
