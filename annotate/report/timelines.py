"""When each track of a video is in sight: its frames, its gaps, and where its id may have changed.

Only the most suspect videos are read once more; what is left out is counted.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from annotate.record.counts import within_limits
from annotate.record.run_folder import Run
from annotate.report.facts import DOUBTFUL
from annotate.report.overlay import class_colours

VIDEOS: Final = 8
TRACKS: Final = 60  # of a video
COLUMNS: Final = 500  # that a time-line is drawn in; what is shorter than one is not seen

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrackLine:
    """One track over the annotated frames of its video."""

    track_id: int
    class_name: str
    colour: str
    first: int  # frame numbers
    last: int
    frames: int  # in which it is seen
    gaps: int  # times it was out of sight
    switches: Sequence[int]  # frame numbers at which its id may have changed hands
    runs: Sequence[tuple[int, int]]  # columns in which it is seen, half-open
    marks: Sequence[int]  # columns of `switches`


@dataclass(frozen=True, slots=True)
class VideoLines:
    """The tracks of one video, as they begin."""

    item: str
    frames: int  # annotated
    first: int  # frame numbers
    last: int
    suspected: int  # instances at which an id may have changed hands
    tracks: Sequence[TrackLine]
    left_out: int  # tracks


@dataclass(frozen=True, slots=True)
class Timelines:
    """The most suspect videos of a run."""

    videos: Sequence[VideoLines]
    left_out: int  # videos


def timelines(
    run: Run,
    threshold: float,
    signal_table: pa.Table,
    *,
    videos: int = VIDEOS,
    tracks: int = TRACKS,
) -> Timelines:
    """Read the tracks of the `videos` most suspect videos, and of each the `tracks` most suspect.

    A video is the more suspect the more often an id may have changed hands in it, then the more
    instances are doubtful. Masks are not read.
    """
    table = run.table()
    media = table.to_table(columns=["item"], filter=pads.field("media") == "video")["item"]
    every = sorted(set(media.unique().to_pylist()))
    switches, doubts = _suspicions(signal_table)
    by_need = sorted(every, key=lambda v: (-len(switches.get(v, ())), -doubts[v], v))
    chosen = by_need[:videos]
    lines = [_video(run, threshold, v, switches.get(v, ()), tracks) for v in chosen]
    return Timelines([v for v in lines if v.tracks or v.frames], len(every) - len(chosen))


def _suspicions(
    signal_table: pa.Table,
) -> tuple[dict[str, list[tuple[int, int]]], Counter[str]]:
    """By item: track and frame of each suspected change of ids, and how much is doubtful."""
    rows = signal_table.filter(pc.is_valid(signal_table["instance_id"]))
    switched = rows.filter(pc.greater(rows["switch"], 0))
    found: dict[str, list[tuple[int, int]]] = {}
    for row in switched.select(["item", "frame_id", "track_id"]).to_pylist():
        number = int(row["frame_id"].rpartition("#")[2])
        found.setdefault(row["item"], []).append((row["track_id"], number))
    doubtful = rows.filter(pc.greater_equal(rows["doubt"], DOUBTFUL))["item"]
    return found, Counter(
        {str(v["values"]): v["counts"] for v in pc.value_counts(doubtful).to_pylist()}
    )


def _video(
    run: Run,
    threshold: float,
    item: str,
    switched: Sequence[tuple[int, int]],
    most: int,
) -> VideoLines:
    seen: dict[int, array[int]] = {}  # frame numbers by track
    class_of: dict[int, Counter[int]] = {}
    numbers: list[int] = []
    limits = np.array(run.classes.thresholds(threshold), np.float32)
    of_item = (pads.field("item") == item) & (pads.field("status") == "ok")
    for batch in run.table().to_batches(columns=["frame_index", "instances"], filter=of_item):
        index = batch["frame_index"].to_numpy(zero_copy_only=False)
        numbers += index.tolist()
        flat = pc.list_flatten(batch["instances"])
        parent = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
        class_ids, scores, ids = (
            flat.field(k).to_numpy(zero_copy_only=False) for k in ("class_id", "score", "track_id")
        )
        kept = (
            (scores >= limits[class_ids]) & within_limits(flat, class_ids, run.classes) & (ids > 0)
        )
        for row in np.flatnonzero(kept).tolist():
            track = int(ids[row])
            seen.setdefault(track, array("q")).append(int(index[parent[row]]))
            class_of.setdefault(track, Counter())[int(class_ids[row])] += 1
    annotated = np.array(sorted(set(numbers)), np.int64)
    marks: dict[int, list[int]] = {}
    for track, number in switched:
        marks.setdefault(track, []).append(number)
    colours, names = class_colours(run.classes), run.classes.names
    lines = []
    for track, frames in seen.items():
        class_id = class_of[track].most_common(1)[0][0]
        lines.append(_line(track, names[class_id], colours[class_id], frames, annotated, marks))
    lines.sort(key=lambda t: (-len(t.switches), -t.gaps, -t.frames, t.track_id))
    return VideoLines(
        item=item,
        frames=len(annotated),
        first=int(annotated[0]) if len(annotated) else 0,
        last=int(annotated[-1]) if len(annotated) else 0,
        suspected=len(switched),
        tracks=sorted(lines[:most], key=lambda t: (t.first, t.track_id)),
        left_out=max(0, len(lines) - most),
    )


def _line(
    track: int,
    class_name: str,
    colour: str,
    frames: Sequence[int],
    annotated: Ints,
    marks: Mapping[int, Sequence[int]],
) -> TrackLine:
    numbers = np.unique(np.asarray(frames, np.int64))
    places = np.searchsorted(annotated, numbers)  # among the annotated frames, whatever the stride
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.insert(breaks + 1, 0, 0)]
    ends = places[np.append(breaks, len(places) - 1)] + 1
    switches = sorted(set(marks.get(track, ())))
    return TrackLine(
        track_id=track,
        class_name=class_name,
        colour=colour,
        first=int(numbers[0]),
        last=int(numbers[-1]),
        frames=len(numbers),
        gaps=len(breaks),
        switches=switches,
        runs=_columns(starts, ends, len(annotated)),
        marks=[int(COLUMNS * p / len(annotated)) for p in np.searchsorted(annotated, switches)],
    )


def _columns(starts: Ints, ends: Ints, frames: int) -> list[tuple[int, int]]:
    """Runs of frames as runs of columns; those that touch there are one."""
    runs: list[tuple[int, int]] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        left = int(COLUMNS * start / frames)
        right = max(left + 1, int(COLUMNS * end / frames))
        if runs and left <= runs[-1][1]:
            runs[-1] = (runs[-1][0], right)
        else:
            runs.append((left, right))
    return runs
