"""Records that come from elsewhere, or that somebody edited: whether each can be right.

Everything behind it relies on what is checked here: run lengths that do not fill their frame keep
pycocotools busy without end, and a class that nobody has is written under another one's name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.data import geometry
from annotate.data.item_paths import refusal
from annotate.data.types import Media, Origin
from annotate.errors import StorageError
from annotate.record import parquet
from annotate.record.run_folder import Run

log = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
# By column of instances, what it may not be without.
MAY_BE_NULL = frozenset({"margin", "box_iou", "agreement", "verified"})


def sound(run: Run) -> Run:
    """The run without the frames whose records cannot be right; these are named and counted.

    Reads every record once, a few at a time. Raises StorageError for a part that is no records, or
    whose rows are doubled or out of order: then none of it can be relied on.
    """
    damaged: dict[str, str] = {}
    parts: dict[str, Path] = {}  # by item
    for folder in run.records_dirs:
        for path in parquet.part_paths(folder):
            items = set()
            for frame_id, item, reason in _read(path, len(run.classes)):
                items.add(item)
                if reason:
                    damaged[frame_id] = f"{path}: {frame_id}: {reason}"
            for item in sorted(items):
                if item in parts:
                    raise StorageError(
                        f"{path}: {item!r} is recorded in {parts[item].name} as well; "
                        "take one of the two away"
                    )
            parts.update(dict.fromkeys(items, path))
    if damaged:
        log.warning(
            "%d records are damaged and left out, such as %s",
            len(damaged), next(iter(damaged.values())),
        )  # fmt: skip
    return replace(run, damaged=run.damaged | damaged.keys())


def _read(path: Path, classes: int) -> Iterator[tuple[str, str, str]]:
    """Frame id, item, and what is wrong with it ("" if nothing), of every row of a part."""
    last: tuple[str, int] | None = None
    for batch in parquet.batches(path):
        wrong = _row_faults(batch)
        for row, reason in _instance_faults(batch, classes, wrong):
            wrong.setdefault(row, reason)
        columns = (batch[name].to_pylist() for name in ("frame_id", "item", "frame_index"))
        for row, (frame_id, item, index) in enumerate(zip(*columns, strict=True)):
            if frame_id is None or item is None or index is None:
                raise StorageError(f"{path}: a row has no frame_id, item or frame_index")
            key = (item, index)
            if last is not None and key <= last:
                what = "is there twice" if key == last else f"comes after {last[0]!r}, {last[1]}"
                raise StorageError(
                    f"{path}: {frame_id!r} {what}; rows must be ordered by item and frame_index"
                )
            last = key
            yield frame_id, item, wrong.get(row, "")


def _row_faults(batch: pa.RecordBatch) -> dict[int, str]:
    wrong: dict[int, str] = {}
    for name in batch.schema.names:
        for row in _where(pc.is_null(batch[name])):
            wrong.setdefault(row, f"no {name}")
    rows = zip(*(batch[n].to_pylist() for n in batch.schema.names if n != "instances"), strict=True)
    fields = [n for n in batch.schema.names if n != "instances"]
    for row, values in enumerate(rows):
        if row not in wrong and (reason := _row_fault(dict(zip(fields, values, strict=True)))):
            wrong[row] = reason
    return wrong


def _row_fault(row: Mapping[str, Any]) -> str:
    """What is wrong with the fields of a frame that are no instances."""
    item, width, height = row["item"], row["width"], row["height"]
    if reason := refusal(str(item)):
        return f"its item is no file of the dataset: {reason}"
    if row["media"] not in get_args(Media):
        return f"media is {row['media']!r}"
    if row["status"] not in ("ok", "failed"):
        return f"status is {row['status']!r}"
    if row["frame_index"] < 0 or not np.isfinite(row["time_s"]):
        return f"frame_index is {row['frame_index']}, time_s {row['time_s']}"
    if row["status"] == "ok":
        expected = item if row["media"] == "image" else f"{item}#{row['frame_index']:06d}"
        if row["frame_id"] != expected:
            return f"frame_id is not {expected}"
        if min(width, height) < 1 or width * height > geometry.MOST_PIXELS:
            return f"a frame of {width} x {height} px"
    return ""


def _instance_faults(
    batch: pa.RecordBatch, classes: int, known: Mapping[int, str]
) -> Iterator[tuple[int, str]]:
    """Rows and what is wrong with one of their instances; of rows `known` to be wrong, nothing."""
    lists = batch["instances"]
    parent = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(lists)
    usable = ~np.isin(parent, list(known))
    rows = parent[usable]
    flat = flat.filter(pa.array(usable))
    failed = np.array([status == "failed" for status in batch["status"].to_pylist()], bool)
    yield from ((r, "a failed frame has instances") for r in rows[failed[rows]])
    null = pc.is_null(flat).to_numpy(zero_copy_only=False)
    for field in flat.type:
        if field.name not in MAY_BE_NULL:
            null |= pc.is_null(flat.field(field.name)).to_numpy(zero_copy_only=False)
    yield from ((r, "an instance lacks a value") for r in rows[null])
    rows, flat = rows[~null], flat.filter(pa.array(~null))
    if not len(rows):
        return

    def column(name: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = flat.field(name).to_numpy(zero_copy_only=False)
        return found

    width, height = (batch[n].to_numpy(zero_copy_only=False)[rows] for n in ("width", "height"))
    class_ids = column("class_id")
    boxes = pc.list_flatten(flat.field("box_xyxy")).to_numpy(zero_copy_only=False).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        sane = np.isfinite(boxes).all(1) & (boxes[:, :2] <= boxes[:, 2:]).all(1)
        inside = (boxes >= -1).all(1) & (boxes[:, 2] <= width + 1) & (boxes[:, 3] <= height + 1)
        unit = [(s >= 0) & (s <= 1 + 1e-6) for s in (column("score"), column("mask_score"))]
        fine = [
            ~(np.abs(v) > 1 + 1e-6) & ~np.isinf(v)
            for v in (column(n).astype(float) for n in sorted(MAY_BE_NULL))
        ]
    areas = geometry.areas(flat.field("mask").to_pylist(), width.astype(np.int64) * height)
    checks: list[tuple[str, Bools]] = [
        ("a class that the run does not have", (class_ids >= 0) & (class_ids < classes)),
        ("a score that is not 0..1", unit[0] & unit[1] & np.all(fine, 0)),
        ("a box that is none of its frame", sane & inside),
        ("a mask whose run lengths do not fill its frame", areas >= 0),
        ("an area that is not the mask's", (areas < 0) | (areas == column("area"))),
        ("a track_id below 0", column("track_id") >= 0),
        ("an origin that there is not", np.isin(column("origin"), get_args(Origin))),
    ]
    for reason, holds in checks:
        yield from ((r, f"an instance has {reason}") for r in rows[~holds])
    ids = column("instance_id")
    _, first = np.unique(np.char.add(rows.astype(str), ids.astype(str)), return_index=True)
    doubled = np.setdiff1d(np.arange(len(rows)), first)
    yield from ((r, "two instances have one instance_id") for r in rows[doubled])


def _where(mask: pa.BooleanArray) -> list[int]:
    return [int(row) for row in np.flatnonzero(mask.to_numpy(zero_copy_only=False))]
