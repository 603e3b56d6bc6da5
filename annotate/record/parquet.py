"""Frame records as Parquet parts: written whole, renamed into place, read in a fixed order."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotate.data.types import FrameRecord, Instance, Rle
from annotate.errors import StorageError
from annotate.store import atomic

if TYPE_CHECKING:
    import pyarrow.dataset as pads

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("item", pa.string()),
        ("media", pa.string()),
        ("frame_index", pa.int32()),
        ("time_s", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
        ("error", pa.string()),
        (
            "instances",
            pa.list_(
                pa.struct(
                    [
                        ("instance_id", pa.string()),
                        ("class_id", pa.int32()),
                        ("phrase", pa.string()),
                        ("score", pa.float32()),
                        ("box_xyxy", pa.list_(pa.float32(), 4)),
                        ("mask", pa.string()),
                        ("area", pa.int64()),
                        ("mask_score", pa.float32()),
                        ("track_id", pa.int32()),
                        ("origin", pa.string()),
                        ("margin", pa.float32()),
                        ("box_iou", pa.float32()),
                        ("agreement", pa.float32()),
                        ("verified", pa.float32()),
                    ]
                )
            ),
        ),
    ]
)
# What records of before do not have is null in them.
ADDED = frozenset({"agreement", "verified"})
ROWS_PER_GROUP = 512  # rows a writer gathers; a row with 100 masks is about 50 KB
ROWS_PER_READ = 256  # rows held at a time by a reader


class PartWriter:
    """Writes one part, rows as they come, and renames it into place when all went well.

    A reader never sees half of a part. Raises StorageError when the disk refuses.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.parquet"
        self._unfinished = atomic.unfinished(self.path)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> PartWriter:
        with self._storage():
            self._unfinished.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("wb")
            self._writer = pq.ParquetWriter(self._file, SCHEMA, compression="zstd")
        return self

    def add(self, record: FrameRecord) -> None:
        """Append a record; the caller keeps the order by item and frame index."""
        self._rows.append(_to_row(record))
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._storage():
                    if self._rows:
                        self._flush()
                    self._writer.close()
                    self._file.close()
                    atomic.publish(self._unfinished, self.path)
        finally:
            # On a full disk closing fails once more; what matters has been said by then.
            for close in (self._writer.close, self._file.close, self._unfinished.unlink):
                with contextlib.suppress(OSError):
                    close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        with self._storage():
            self._writer.write_table(pa.Table.from_pylist(rows, SCHEMA))

    @contextlib.contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{self.path}: cannot write records ({reason})") from error


def write_part(folder: Path, name: str, records: Sequence[FrameRecord]) -> Path:
    """Write records as one part, sorted by item and frame index."""
    with PartWriter(folder, name) as part:
        for record in sorted(records, key=_order):
            part.add(record)
    return part.path


def part_paths(folder: Path) -> list[Path]:
    """The finished parts of a records folder, by name."""
    return sorted(folder.glob("part-*.parquet"))


@dataclass(frozen=True, slots=True)
class Held:
    """The items of one part."""

    items: frozenset[str]
    failed: frozenset[str]  # those of them that have a failed record


def held_items(folder: Path) -> dict[Path, Held]:
    """Which items each part of a records folder has records of."""
    held = {}
    for path in part_paths(folder):
        rows = _columns(path, ["item", "status"])
        failed = rows.filter(pc.equal(rows["status"], "failed"))
        items, bad = (pc.unique(t["item"]).to_pylist() for t in (rows, failed))
        held[path] = Held(frozenset(items), frozenset(bad))
    return held


def drop_items(held: Mapping[Path, Held], names: Collection[str]) -> None:
    """Take the records of items out of their parts, each of which stays whole all the while."""
    for path, part in held.items():
        if part.items <= set(names):
            path.unlink()
            atomic.sync_folder(path.parent)
        elif not part.items.isdisjoint(names):
            with PartWriter(path.parent, path.stem) as left:
                for record in read_part(path):
                    if record.item not in names:
                        left.add(record)


def dataset(*folders: Path) -> pads.Dataset:
    """The records of these folders as a pyarrow dataset, for analysis outside this package."""
    import pyarrow.dataset as pads  # takes pandas with it, where that is installed

    parts = [str(path) for folder in folders for path in part_paths(folder)]
    return pads.dataset(parts, schema=SCHEMA, format="parquet")


def read_frames(
    frame_ids: Collection[str], *folders: Path, names: tuple[str, ...] = ()
) -> list[FrameRecord]:
    """The records of some frames, ordered by item and frame index; all of them in memory.

    `names` of classes, by id, are what their instances will say; so in all readers here.
    """
    wanted = pc.field("frame_id").isin(pa.array(sorted(frame_ids), pa.string()))
    rows = dataset(*folders).to_table(filter=wanted).to_pylist()
    return sorted((_from_row(row, names) for row in rows), key=_order)


def read_records(
    *folders: Path, skip: Set[str] = frozenset(), names: tuple[str, ...] = ()
) -> Iterator[FrameRecord]:
    """All records of these folders but some frames, by item and frame index, a few at a time.

    Parts are merged, each opened only when its first row is due: the order depends on the items
    alone, not on when they were annotated, and memory stays flat.
    """
    waiting = sorted(
        (first, path)
        for folder in folders
        for path in part_paths(folder)
        if (first := _first_key(path)) is not None
    )
    heap: list[tuple[tuple[str, int], int, FrameRecord, Iterator[FrameRecord]]] = []
    opened = 0
    while heap or opened < len(waiting):
        while opened < len(waiting) and (not heap or waiting[opened][0] <= heap[0][0]):
            rows = read_part(waiting[opened][1], skip, names)
            if (record := next(rows, None)) is not None:
                heapq.heappush(heap, (_order(record), opened, record, rows))
            opened += 1
        if not heap:
            continue
        _, rank, record, rows = heap[0]
        yield record
        following = next(rows, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (_order(following), rank, following, rows))


def _order(record: FrameRecord) -> tuple[str, int]:
    return record.item, record.frame_index


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: not a readable records part ({error})") from error


def _lacking(schema: pa.Schema) -> list[str]:
    """The columns of SCHEMA that a file has not, those of instances included."""
    lacking = [name for name in SCHEMA.names if name not in schema.names]
    if "instances" not in lacking:
        kind = schema.field("instances").type
        there = {f.name for f in kind.value_type} if _is_list_of_structs(kind) else set()
        wanted = SCHEMA.field("instances").type.value_type
        if there or not pa.types.is_null(kind):
            lacking += [f"instances.{f.name}" for f in wanted if f.name not in there | ADDED]
    return lacking


def _is_list_of_structs(kind: pa.DataType) -> bool:
    a_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(a_list and pa.types.is_struct(kind.value_type))


def _columns(path: Path, names: list[str]) -> pa.Table:
    file = _open(path)
    try:
        return file.read(columns=names).select(names)
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"{path}: not readable as records ({reason})") from error


def _first_key(path: Path) -> tuple[str, int] | None:
    head = next(batches(path), None)
    return None if head is None else (head["item"][0].as_py(), head["frame_index"][0].as_py())


def read_part(
    path: Path, skip: Set[str] = frozenset(), names: tuple[str, ...] = ()
) -> Iterator[FrameRecord]:
    """The records of one part but some frames, in their order, a few at a time."""
    for batch in batches(path):
        for row in batch.to_pylist():
            if row["frame_id"] not in skip:
                yield _from_row(row, names)


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of one part, in the types of SCHEMA, which other writers (pandas) change.

    Raises StorageError where it is no part, or one without all columns.
    """
    file = _open(path)
    if lacking := _lacking(file.schema_arrow):
        raise StorageError(f"{path}: has no column {', '.join(lacking)}")
    try:
        for batch in file.iter_batches(ROWS_PER_READ, columns=SCHEMA.names):
            if batch.schema.equals(SCHEMA):
                yield batch
            else:
                yield from pa.table(batch).select(SCHEMA.names).cast(SCHEMA).to_batches()
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"{path}: not readable as records ({reason})") from error


def _to_row(record: FrameRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in SCHEMA.names if name != "instances"}
    row["instances"] = [
        {
            "instance_id": i.instance_id,
            "class_id": i.class_id,
            "phrase": i.phrase,
            "score": i.score,
            "box_xyxy": i.box_xyxy,
            "mask": i.mask.counts,
            "area": i.area,
            "mask_score": i.mask_score,
            "track_id": i.track_id,
            "origin": i.origin,
            "margin": i.margin,
            "box_iou": i.box_iou,
            "agreement": i.agreement,
            "verified": i.verified,
        }
        for i in record.instances
    ]
    return row


def _from_row(row: dict[str, Any], names: tuple[str, ...]) -> FrameRecord:
    size_hw = row["height"], row["width"]
    instances = tuple(
        Instance(
            **{**i, "box_xyxy": tuple(i["box_xyxy"]), "mask": Rle(i["mask"], size_hw)},
            class_names=names,
        )
        for i in row.pop("instances") or ()
    )
    return FrameRecord(**row, instances=instances)
