"""Decisions on disk: parts that are only ever added, read in the order they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from annotate.data import geometry
from annotate.data.decisions import By, Decision
from annotate.data.types import Rle
from annotate.errors import StorageError
from annotate.store import atomic

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("item", pa.string()),
        ("instance_id", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("deleted", pa.bool_()),
        ("class_name", pa.string()),
        ("track_id", pa.int32()),
        ("mask", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("box_only", pa.bool_()),
        ("added", pa.bool_()),
        ("seen_class", pa.string()),
        ("seen_box", pa.list_(pa.float32(), 4)),
        ("seen_track", pa.int32()),
        ("by", pa.string()),
        ("who", pa.string()),
        ("when", pa.timestamp("us", tz="UTC")),
    ]
)


_OF_MASK = ("mask", "height", "width")


def read(*folders: Path) -> Iterator[Decision]:
    """The decisions of review folders in the order they were made. Raises StorageError."""
    parts = []
    for place, folder in enumerate(folders):
        last = datetime.min.replace(tzinfo=UTC)
        for path in _part_paths(folder):
            made = list(_read_part(path))
            # What was carried on by itself has no time; it follows what it was carried on from.
            last = max([last, *(d.when for d in made if d.when is not None)])
            parts.append((last, place, path.name, made))
    for *_, made in sorted(parts, key=lambda part: part[:3]):
        yield from made


def write(folder: Path, decisions: Sequence[Decision]) -> Path | None:
    """Append decisions as a part of their own; None when there is nothing to write.

    To be called under the run's lock. Raises StorageError when the disk refuses.
    """
    if not decisions:
        return None
    before = _part_paths(folder)
    number = int(before[-1].stem.rpartition("-")[2]) + 1 if before else 1
    path = folder / f"decisions-{number:06d}.parquet"
    table = pa.Table.from_pylist([_to_row(d) for d in decisions], SCHEMA)
    with atomic.writing(path, "decisions") as written:
        pq.write_table(table, written, compression="zstd")
    return path


def _read_part(path: Path) -> Iterator[Decision]:
    try:
        table = pq.ParquetFile(path).read()
        if lacking := sorted(set(SCHEMA.names) - set(table.column_names)):
            raise StorageError(f"{path}: has no column {', '.join(lacking)}")
        rows = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"{path}: not readable as decisions ({reason})") from error
    for number, row in enumerate(rows, start=1):
        if reason := _fault(row):
            raise StorageError(f"{path}: row {number}, {row['frame_id']!r}: {reason}")
    return map(_from_row, rows)


def _fault(row: Mapping[str, Any]) -> str:
    """Why a row can be no decision, "" if it can."""
    if not row["frame_id"] or not row["item"]:
        return "no frame_id or item"
    if row["by"] not in get_args(By) or row["added"] is None:
        return f"by is {row['by']!r}, added {row['added']}"
    if row["tags"] is not None and None in row["tags"]:
        return "a tag is null"
    if min(row["track_id"] or 0, row["seen_track"] or 0) < 0:
        return "a track_id is below 0"
    if row["seen_box"] is not None and not np.isfinite(np.array(row["seen_box"], float)).all():
        return "seen_box is not finite"
    if row["mask"] is not None:
        height, width = row["height"] or 0, row["width"] or 0
        if min(height, width) < 1 or height * width > geometry.MOST_PIXELS:
            return f"a mask of {width} x {height} px"
        if wrong := geometry.wrong_run_lengths(row["mask"], (height, width)):
            return f"the mask's {wrong}"
    return ""


def _part_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("decisions-*.parquet"))


def _to_row(decision: Decision) -> dict[str, Any]:
    row = {name: getattr(decision, name) for name in SCHEMA.names if name not in _OF_MASK}
    if decision.mask is not None:
        height, width = decision.mask.size_hw
        row |= {"mask": decision.mask.counts, "height": height, "width": width}
    return row


def _from_row(row: dict[str, Any]) -> Decision:
    counts, height, width = (row.pop(name) for name in _OF_MASK)
    for name in ("tags", "seen_box"):
        row[name] = None if row[name] is None else tuple(row[name])
    return Decision(**row, mask=None if counts is None else Rle(counts, (height, width)))
