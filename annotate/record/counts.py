"""What the records of a run hold, counted from the columns alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.record.run_folder import Run

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


def count_records(run: Run, threshold: float, items: Collection[str] | None = None) -> Counts:
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
