"""What the records of a run hold, and what exports have of it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.data.selection import Selection, kept_instances
from annotate.data.types import ClassList
from annotate.record.run_folder import Run
from annotate.record.run_summary import Counts

LISTED_FAILURES = 20


def count_records(run: Run, threshold: float, items: Collection[str] | None = None) -> Counts:
    """Count these items (None: all), their instances, and what exports have of these.

    Reads only the columns needed, and whole records where people decided something about them.
    """
    names = run.classes.names
    decisions = run.decisions()
    recorded, kept, wrong_size = (np.zeros(len(names), int) for _ in range(3))
    best = np.zeros(len(names), np.float32)
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
        recorded += np.bincount(class_ids, minlength=len(names))
        np.maximum.at(best, class_ids, flat.field("score").to_numpy(zero_copy_only=False))
        sure = _above(flat, class_ids, run.classes, threshold)
        of_size = within_limits(flat, class_ids, run.classes)
        wrong_size += np.bincount(class_ids[sure & ~of_size], minlength=len(names))
        if not decisions:
            counted = sure & of_size
            frame_of = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
            annotated += len(np.unique(frame_of[counted]))
            kept += np.bincount(class_ids[counted], minlength=len(names))
    if decisions:
        frames = 0
        selection = Selection(decisions, run.classes)
        for row in run.frames():
            if row.status != "ok" or (items is not None and row.item not in items):
                continue
            if (record := selection.take(row)) is not None:
                of_class = [i.class_id for i in kept_instances(record, run.classes, threshold)]
                frames += 1
                annotated += bool(of_class)
                kept += np.bincount(np.array(of_class, int), minlength=len(names))
    return Counts(
        ok=len(seen - failed),
        failed=len(failed),
        frames=frames,
        annotated=annotated,
        recorded=dict(zip(names, recorded.tolist(), strict=True)),
        kept=dict(zip(names, kept.tolist(), strict=True)),
        best={n: round(b, 4) for n, b in zip(names, best.tolist(), strict=True)},
        wrong_size=dict(zip(names, wrong_size.tolist(), strict=True)),
        failures=failures,
    )


def counting(
    instances: pa.Array, class_ids: npt.NDArray[np.int32], classes: ClassList, threshold: float
) -> npt.NDArray[np.bool_]:
    """Which instances count (n,): as `kept_instances`, on columns."""
    above = _above(instances, class_ids, classes, threshold)
    return above & within_limits(instances, class_ids, classes)


def _above(
    instances: pa.Array, class_ids: npt.NDArray[np.int32], classes: ClassList, threshold: float
) -> npt.NDArray[np.bool_]:
    limits = np.array(classes.thresholds(threshold), np.float32)
    scores = instances.field("score").to_numpy(zero_copy_only=False)
    above: npt.NDArray[np.bool_] = scores >= limits[class_ids]
    return above


def within_limits(
    instances: pa.Array, class_ids: npt.NDArray[np.int32], classes: ClassList
) -> npt.NDArray[np.bool_]:
    """Which instances (n,) have a mask, and box, of a size and shape that their class allows."""
    smallest = np.array([max(1.0, spec.min_area or 0) for spec in classes.classes])
    largest = np.array([np.inf if s.max_area is None else s.max_area for s in classes.classes])
    areas = instances.field("area").to_numpy(zero_copy_only=False)
    boxes = pc.list_flatten(instances.field("box_xyxy")).to_numpy(zero_copy_only=False)
    boxes = boxes.reshape(-1, 4)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    aspects = sides[:, 0] / sides[:, 1]
    narrowest = np.array([spec.min_aspect or 0.0 for spec in classes.classes])
    widest = np.array([np.inf if s.max_aspect is None else s.max_aspect for s in classes.classes])
    within: npt.NDArray[np.bool_] = (
        (areas >= smallest[class_ids])
        & (areas <= largest[class_ids])
        & (aspects >= narrowest[class_ids])
        & (aspects <= widest[class_ids])
    )
    return within
