"""Decisions on disk: parts that are only ever added, read in the order they were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.data.decisions import Decision
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
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: not readable as decisions ({error})") from error
    return map(_from_row, rows)


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
