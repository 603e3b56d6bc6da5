"""The queue of frames to look at, with neighbours that say the same taken together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.evaluate import uncertainty

NEAR: Final = 10  # annotated frames of a video from one to the next of a group

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Frames near each other in one video, or stills alike, that are doubted for one reason."""

    frame_id: str  # the most doubtful of them
    item: str
    why: str
    doubt: float
    count: int  # frames in it
    first: str  # frame ids, by their place in the video
    last: str

    @property
    def also(self) -> str:
        """What stands for itself and others, in words; "" for a frame alone."""
        if self.count == 1:
            return ""
        if "#" in self.first and self.first.rpartition("#")[0] == self.item:
            places = (f.rpartition("#")[2].lstrip("0") or "0" for f in (self.first, self.last))
            return f"{self.count:,} such frames, {' to '.join(places)}"
        return f"{self.count:,} such pictures, which look alike"


def groups(signal_table: pa.Table) -> list[Group]:
    """Every doubted frame in a group of the frame signals of a run, the most doubtful first.

    Two frames of a video are neighbours within `NEAR` annotated frames; a still and the one it
    looks like are as well.
    """
    frames = uncertainty.queue(signal_table)
    frame_ids = frames["frame_id"].to_pylist()
    own = _codes(frames["item"])
    # A still that looks like another stands beside it.
    alike = _codes(pc.coalesce(frames["looks_like"], frames["item"]))
    why = _codes(frames["why"])
    places = _places(own, frame_ids)
    doubted = np.flatnonzero(pc.greater(frames["doubt"], 0).to_numpy())
    order = doubted[np.lexsort((places[doubted], why[doubted], alike[doubted]))]
    begins = np.ones(len(order), bool)
    begins[1:] = (
        (np.diff(alike[order]) != 0) | (np.diff(why[order]) != 0) | (np.diff(places[order]) > NEAR)
    )
    items, reasons, doubts = (frames[k].to_pylist() for k in ("item", "why", "doubt"))
    found: list[tuple[int, Group]] = []
    for rows in np.split(order, np.flatnonzero(begins)[1:]) if len(order) else ():
        lead = int(rows.min())  # rows are in the order of the queue
        ends = frame_ids[rows[0]], frame_ids[rows[-1]]
        found.append(
            (
                lead,
                Group(frame_ids[lead], items[lead], reasons[lead], doubts[lead], len(rows), *ends),
            )
        )
    return [group for _, group in sorted(found, key=lambda one: one[0])]


def varied(items: Sequence[str], count: int, per_item: int) -> list[int]:
    """The first `count` places, but of each item only the first `per_item`."""
    seen: Counter[str] = Counter()
    rows: list[int] = []
    for row, item in enumerate(items):
        if len(rows) == count:
            break
        seen[item] += 1
        if seen[item] <= per_item:
            rows.append(row)
    return rows


def _codes(column: pa.ChunkedArray) -> Ints:
    """Equal texts as equal numbers (n,)."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices, np.int64)


def _places(items: Ints, frame_ids: Sequence[str]) -> Ints:
    """How many annotated frames of its item come before each (n,)."""
    numbers = np.array([_number(f) for f in frame_ids], np.int64)
    order = np.lexsort((numbers, items))
    starts = np.flatnonzero(np.diff(items[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return places


def _number(frame_id: str) -> int:
    """The frame's number in its video; of a still, whose name may hold anything, 0 is as good."""
    tail = frame_id.rpartition("#")[2]
    return int(tail) if tail.isascii() and tail.isdigit() else 0
