"""What a video's tracks came to, once it has ended: which stand, as what, and in which frames.

While a video passes, frames carry the tracker's own ids, and of each instance the class that the
detector took it for there. Which tracks are real, which were one object under two ids, and which
class a track has is known only at the end. Functions of records and tracks: no models, no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from annotate.config.settings import TrackSettings
from annotate.data.types import FrameRecord, Instance
from annotate.track.tracks import Track


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an object came to."""

    number: int  # its track id in the records, 1 and on
    class_id: int
    phrase: str
    score: float  # 0..1
    verified: float | None = None  # the mean second opinion on that class, 0..1


def keep(track: Track, rules: TrackSettings) -> bool:
    """Whether a finished track had the detections that its key frames allowed."""
    return track.hits >= min(rules.min_hits, max(track.key_frames, 1))


def roots(kept: Mapping[int, Track]) -> dict[int, int]:
    """For each kept track the one that it was merged into in the end, or itself."""
    return {track_id: _root(track, kept) for track_id, track in kept.items()}


def _root(track: Track, kept: Mapping[int, Track]) -> int:
    while (elder := track.merged_into) is not None and elder in kept:
        track = kept[elder]
    return track.track_id


def verdicts(kept: Mapping[int, Track]) -> dict[int, Verdict]:
    """What the roots came to, numbered in the order of their births, weak ones after the others."""
    standing = [kept[i] for i in sorted(set(roots(kept).values()))]
    standing.sort(key=lambda track: track.weak)
    return {track.track_id: verdict(track, n) for n, track in enumerate(standing, start=1)}


def verdict(track: Track, number: int) -> Verdict:
    """What an object came to by now, which is called `number` in the records."""
    return Verdict(number, track.class_id, track.phrase, track.score, track.verified)


def hidden(track: Track, moment: int) -> bool:
    """Whether it was found afterwards that the track was gone in a frame, counted from 0."""
    return any(first <= moment <= last for first, last in track.hidden)


def one_each(
    instances: Iterable[Instance],
    moment: int,
    kept: Mapping[int, Track],
    root_of: Mapping[int, int],
) -> dict[int, Instance]:
    """One instance of a frame for each root: its own, else the eldest of those merged into it."""
    chosen: dict[int, Instance] = {}
    standing = [i for i in instances if i.track_id in kept]
    for instance in sorted(standing, key=lambda i: (kept[i.track_id].weak, i.track_id)):
        own = instance.track_id
        if hidden(kept[own], moment):
            continue
        root = root_of[own]
        if own == root:
            chosen[root] = instance
        else:
            chosen.setdefault(root, instance)
    return chosen


def settle(provisional: Iterable[FrameRecord], kept: Mapping[int, Track]) -> Iterator[FrameRecord]:
    """The final records of a video, from all its provisional ones in their order."""
    root_of, said = roots(kept), verdicts(kept)
    for moment, record in enumerate(provisional):
        yield final(record, one_each(record.instances, moment, kept, root_of), said, kept)


def final(
    record: FrameRecord,
    chosen: Mapping[int, Instance],
    said: Mapping[int, Verdict],
    kept: Mapping[int, Track],
) -> FrameRecord:
    """A record with the instance chosen of each root, as the verdict on it says."""
    instances = [
        _final(_filled_back(instance, kept, root), said[root], record.frame_id)
        for root, instance in chosen.items()
    ]
    instances.sort(key=lambda instance: instance.track_id)
    return replace(record, instances=tuple(instances))


def _filled_back(instance: Instance, kept: Mapping[int, Track], root: int) -> Instance:
    """What was found weakly of an object, before it was found surely."""
    before = kept[instance.track_id].weak and not kept[root].weak
    return replace(instance, origin="backfilled") if before else instance


def _final(instance: Instance, verdict: Verdict, frame_id: str) -> Instance:
    margin = instance.margin
    if margin is not None and instance.class_id != verdict.class_id:
        margin = -margin  # here the detector took it for another class
    return replace(
        instance,
        instance_id=f"{frame_id}:{verdict.number}",
        class_id=verdict.class_id,
        phrase=verdict.phrase,
        score=verdict.score,
        verified=verdict.verified,
        margin=margin,
        track_id=verdict.number,
    )
