"""Where labels may be wrong: signals per instance and frame, from the records alone.

Every signal is an uncertainty, 0..1: 0 says nothing, 1 says look here first. `write` stores them in
`signals.parquet` of the run folder, one row per instance that an export has and one per frame
(`instance_id` null), which holds the strongest of its instances. `doubt` is what all signals of a
row come to, `why` names the strongest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pycocotools import mask as coco_mask

from annotate.data.geometry import box_iou
from annotate.data.selection import kept_instances
from annotate.data.types import FrameRecord, Instance
from annotate.errors import StorageError
from annotate.evaluate.near_duplicates import repeated_stills
from annotate.record.counts import count_records
from annotate.record.parquet import ROWS_PER_GROUP
from annotate.record.run_folder import Run
from annotate.store import atomic

MEANINGS: Final = {
    "margin": "the detector was almost as sure of another class",
    "mask_score": "the segmenter is unsure of its mask",
    "box_iou": "the mask left the detector's box, or fills little of it",
    "agreement": "not all of the grounders found it",
    "verified": "a second opinion doubts its class",
    "overlap": "much of it lies on an instance of another class",
    "flicker": "the track comes and goes",
    "area_jump": "its size jumps from one frame to the next",
    "switch": "the id may have changed hands",
    "empty": "nothing is labelled, though most frames have something",
    "duplicate": "looks like another picture of the dataset",
}
SIGNALS: Final = tuple(MEANINGS)
SCHEMA: Final = pa.schema(
    [
        ("frame_id", pa.string()),
        ("item", pa.string()),
        ("instance_id", pa.string()),
        ("track_id", pa.int32()),
        ("class_id", pa.int32()),
        ("looks_like", pa.string()),  # the still before it that a duplicate is one of
        ("doubt", pa.float32()),
        ("why", pa.string()),
        *((name, pa.float32()) for name in SIGNALS),
    ]
)
# A value at the first figure or beyond is certain, at the second as uncertain as can be.
_MARGIN: Final = (0.3, 0.0)
_MASK_SCORE: Final = (0.9, 0.5)
_BOX_IOU: Final = (0.85, 0.4)
_AGREEMENT: Final = (1.0, 0.3)  # of two grounders that differ: 0.7
_VERIFIED: Final = (0.5, 0.0)
_OVERLAP: Final = (0.3, 0.9)  # share of the smaller mask
_AREA_JUMP: Final = (0.6, 2.0)  # powers of two
_FLICKERS: Final = (0.0, 3.0)  # returns of a track so far
_SHORT_GAP: Final = 10  # annotated frames; a longer absence is no flicker
_HANDED_OVER: Final = 30  # annotated frames within which a new track may be an old one
_HANDED_OVER_IOU: Final = 0.3
# A picture seen before is no error: it comes after those that are uncertain.
_DUPLICATE: Final = 0.3
_BELIEF: Final = 0.9  # in a signal at its strongest

Floats = npt.NDArray[np.float64]


def signals_path(run: Run) -> Path:
    """Where a run keeps its signals."""
    return run.path / "signals.parquet"


def write(run: Run, threshold: float, *, near_duplicates: bool = True) -> Path:
    """Compute and store the signals of what an export at `threshold` has; streamed.

    `near_duplicates` looks at every still once more. Raises StorageError.
    """
    counts = count_records(run, threshold)
    share = counts.annotated / counts.frames if counts.frames else 0.0
    twins = repeated_stills(run) if near_duplicates else {}
    path = signals_path(run)
    with (
        atomic.writing(path, "signals") as written,
        pq.ParquetWriter(written, SCHEMA, compression="zstd") as writer,
    ):
        rows = _rows(run, threshold, share, twins)
        while some := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(some, SCHEMA))
    return path


def read(run: Run) -> pa.Table:
    """The signals of a run. Raises StorageError where there are none."""
    path = signals_path(run)
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: cannot read the signals ({error})") from error


def queue(table: pa.Table) -> pa.Table:
    """The frame rows of `read`, the most doubtful first."""
    frames = table.filter(pc.is_null(table["instance_id"]))
    return frames.sort_by([("doubt", "descending"), ("frame_id", "ascending")])


def _rows(
    run: Run, threshold: float, share: float, twins: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for (_, media), records in groupby(run.frames(), lambda r: (r.item, r.media)):
        history = _History() if media == "video" else None
        for record in records:
            if record.status != "ok":
                continue
            kept = list(kept_instances(record, run.classes, threshold))
            values = _of_instances(kept)
            if history is not None:
                values |= history.follow(kept)
            whole: dict[str, float] = {}
            if not kept:
                whole["empty"] = share
            if record.item in twins:
                whole["duplicate"] = _DUPLICATE
            rows = list(_laid_out(record, kept, values, whole))
            rows[-1]["looks_like"] = twins.get(record.item)
            yield from rows


def _laid_out(
    record: FrameRecord,
    kept: Sequence[Instance],
    values: dict[str, Floats],
    whole: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """The rows of one frame: its instances, then itself."""
    for index, instance in enumerate(kept):
        own = {k: float(v[index]) for k, v in values.items() if not np.isnan(v[index])}
        yield _row(record, instance, own)
    strongest = {k: float(np.nanmax(v)) for k, v in values.items() if not np.isnan(v).all()}
    yield _row(record, None, strongest | whole)


def _row(
    record: FrameRecord, instance: Instance | None, values: dict[str, float]
) -> dict[str, Any]:
    why = max(values, key=lambda name: values[name], default="")
    # Several reasons are more than one, and none is a proof.
    together = 1 - math.prod(1 - _BELIEF * value for value in values.values())
    return {
        "frame_id": record.frame_id,
        "item": record.item,
        "instance_id": instance and instance.instance_id,
        "track_id": instance and instance.track_id,
        "class_id": instance and instance.class_id,
        "doubt": together,
        "why": why if values.get(why) else "",
        **values,
    }


def _of_instances(kept: Sequence[Instance]) -> dict[str, Floats]:
    """Signals that a frame shows by itself, (n,) each; nan where one cannot be told."""
    if not kept:
        return {}
    return {
        "margin": _ramp([i.margin for i in kept], _MARGIN),
        "mask_score": _ramp([i.mask_score for i in kept], _MASK_SCORE),
        "box_iou": _ramp([i.box_iou for i in kept], _BOX_IOU),
        "agreement": _ramp([i.agreement for i in kept], _AGREEMENT),
        "verified": _ramp([i.verified for i in kept], _VERIFIED),
        "overlap": _ramp(_inside_others(kept), _OVERLAP),
    }


def _ramp(values: Sequence[float | None] | Floats, limits: tuple[float, float]) -> Floats:
    """0 at the first limit, 1 at the second, straight between, flat beyond; None becomes nan."""
    start, end = limits
    return np.clip((np.array(values, float) - start) / (end - start), 0, 1)


def _inside_others(kept: Sequence[Instance]) -> Floats:
    """Share (n,) of the smaller mask that an instance has in common with one of another class."""
    class_ids = np.array([i.class_id for i in kept])
    if (class_ids == class_ids[0]).all():
        return np.zeros(len(kept))
    rles = [i.mask.coco for i in kept]
    # With iscrowd it is the share of the first mask that lies in the second.
    inside = np.asarray(coco_mask.iou(rles, rles, [1] * len(rles)))
    inside = np.maximum(inside, inside.T)
    inside[class_ids[:, None] == class_ids] = 0
    return np.asarray(inside.max(1), float)


class _History:
    """What the frames of one video so far say about the next one."""

    def __init__(self) -> None:
        self._time = -1  # annotated frames
        self._last: dict[int, tuple[int, Instance]] = {}  # by track: when and what was seen last
        self._returns: dict[int, int] = {}  # by track, after short gaps

    def follow(self, kept: Sequence[Instance]) -> dict[str, Floats]:
        """Signals of a frame that follows those before, (n,) each."""
        self._time += 1
        flicker = np.zeros(len(kept))
        jump, switch = np.full(len(kept), np.nan), np.zeros(len(kept))
        for index, instance in enumerate(kept):
            before = self._last.get(instance.track_id)
            if before is None:
                switch[index] = self._handed_over(instance, kept)
                continue
            gap = self._time - before[0] - 1
            if 0 < gap <= _SHORT_GAP:
                self._returns[instance.track_id] = self._returns.get(instance.track_id, 0) + 1
                flicker[index] = _ramp([self._returns[instance.track_id]], _FLICKERS)[0]
            elif gap == 0:
                change = abs(np.log2(max(instance.area, 1) / max(before[1].area, 1)))
                jump[index] = _ramp([change], _AREA_JUMP)[0]
        for one, other in self._swapped(kept):
            switch[[one, other]] = 1.0
        self._last |= {i.track_id: (self._time, i) for i in kept}
        oldest = self._time - _HANDED_OVER
        # A track may come back later still, but then neither flickers nor was another's heir.
        self._last = {k: v for k, v in self._last.items() if v[0] >= oldest}
        return {"flicker": flicker, "area_jump": jump, "switch": switch}

    def _handed_over(self, born: Instance, kept: Iterable[Instance]) -> float:
        """How likely a new track is one that went away just before, at the same place."""
        present = {i.track_id for i in kept}
        gone = [i for k, (_, i) in self._last.items() if k not in present]
        heirs = [box_iou(born.box_xyxy, i.box_xyxy) for i in gone if i.class_id == born.class_id]
        return 0.8 if max(heirs, default=0.0) >= _HANDED_OVER_IOU else 0.0

    def _swapped(self, kept: Sequence[Instance]) -> Iterator[tuple[int, int]]:
        """Pairs of one class that lie where the other one was a frame ago."""
        now = [
            (index, instance, before[1])
            for index, instance in enumerate(kept)
            if (before := self._last.get(instance.track_id)) and before[0] == self._time - 1
        ]
        for place, (one, a, a_before) in enumerate(now):
            for other, b, b_before in now[place + 1 :]:
                if a.class_id != b.class_id:
                    continue
                kept_ids = box_iou(a.box_xyxy, a_before.box_xyxy) + box_iou(
                    b.box_xyxy, b_before.box_xyxy
                )
                if (
                    box_iou(a.box_xyxy, b_before.box_xyxy) + box_iou(b.box_xyxy, a_before.box_xyxy)
                    > kept_ids
                ):
                    yield one, other
