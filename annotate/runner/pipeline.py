"""A frame's way through the models, read aloud: ground, segment, track, record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from annotate.data.checks import in_range
from annotate.data.types import Frame, FrameRecord, Instance, Item
from annotate.ground.select import Grounder
from annotate.models.memory_limit import Backoff
from annotate.segment.finishing import Segmenter, SegmentRules, cut_masks
from annotate.segment.object_groups import GroupedMemory
from annotate.segment.sam2 import Sam2Image
from annotate.track.matching import TrackRules
from annotate.track.tracker import TrackedFrame, VideoTracker
from annotate.track.tracks import Track


@dataclass(frozen=True, slots=True)
class VideoRules:
    """How videos are worked through; see `ground.every`, `video:` and conf/track/."""

    every: int  # frames from one grounding to the next
    batch: int  # key frames per forward
    track: TrackRules

    def __post_init__(self) -> None:
        in_range("ground.every", self.every, 1)


class Pipeline:
    """The models with one class list; `seconds` adds up what each stage took."""

    def __init__(
        self,
        grounder: Grounder,
        sam: Sam2Image,
        segment: SegmentRules,
        video: VideoRules,
        *,
        objects_at_once: Backoff | None = None,
    ) -> None:
        self._grounder = grounder
        self._segmenter = Segmenter(sam, segment)
        self._memory = GroupedMemory(sam, at_once=objects_at_once)
        self._segment = segment
        self._video = video
        self.seconds: Counter[str] = Counter()

    def stills(self, frames: Sequence[Frame]) -> list[FrameRecord]:
        """Records of a batch of stills, in their order. Raises MemoryError when one is too much."""
        with self._timed("ground"):
            found = self._grounder.find([frame.image for frame in frames])
        with self._timed("segment"):
            return [
                ok_record(frame, self._segmenter.refine(frame, detections))
                for frame, detections in zip(frames, found, strict=True)
            ]

    def video(
        self, frames: Iterable[Frame], *, after: Mapping[str, Any] | None = None
    ) -> VideoPass:
        """One pass over the frames of a video, in their order.

        With `after`, the state of an earlier pass, it goes on there; the frames must then begin
        with those that it held.
        """
        rules = self._video
        tracker = VideoTracker(
            self._memory, self._grounder, rules.track, every=rules.every, batch=rules.batch
        )
        source = iter(frames)
        if after is not None:
            tracker.restore(after["tracker"], source)
        return VideoPass(tracker, source, self._segment)

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self._memory.image.device

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


class VideoPass:
    """A video's records in two readings: drafts as frames pass, then the settled ones.

    Which tracks stand, and under which class, is known only when the video has ended. Drafts carry
    the tracker's own ids, and the class of the frame's detection where it has one; `settled` turns
    them into records.
    """

    def __init__(
        self, tracker: VideoTracker, frames: Iterable[Frame], segment: SegmentRules
    ) -> None:
        self._tracker = tracker
        self._frames = frames
        self._segment = segment

    def state(self) -> dict[str, Any]:
        """What a later pass needs to go on from here; to be asked for `at_rest`."""
        tracker = self._tracker.state()
        return {"tracker": tracker, "held": [index for index, *_ in tracker["held"]]}

    def drafts(self, *, at_rest: Callable[[], None] = lambda: None) -> Iterator[FrameRecord]:
        """A draft per frame, in order; see VideoTracker.track for `at_rest`."""
        for tracked in self._tracker.track(self._frames, at_rest=at_rest):
            yield ok_record(tracked.frame, tuple(self._instances(tracked)))

    def settled(self, drafts: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The records of the drafts, given again after the last one was made."""
        kept = self._tracker.kept()
        standing = {i: _root(track, kept) for i, track in kept.items()}
        numbers = {i: n for n, i in enumerate(sorted(set(standing.values())), start=1)}
        said = {i: (kept[i].class_id, kept[i].phrase, kept[i].score) for i in numbers}
        for moment, draft in enumerate(drafts):
            # One instance for each standing track: its own, else the eldest of those merged into.
            chosen: dict[int, Instance] = {}
            for instance in sorted(draft.instances, key=lambda i: i.track_id):
                own = instance.track_id
                if own not in kept or _hidden(kept[own], moment):
                    continue
                if own == standing[own]:
                    chosen[own] = instance
                else:
                    chosen.setdefault(standing[own], instance)
            instances = []
            for i in sorted(chosen):
                class_id, phrase, score = said[i]
                margin = chosen[i].margin
                if margin is not None and chosen[i].class_id != class_id:
                    margin = -margin  # here the detector took it for another class
                instances.append(
                    replace(
                        chosen[i],
                        instance_id=f"{draft.frame_id}:{numbers[i]}",
                        class_id=class_id,
                        phrase=phrase,
                        score=score,
                        margin=margin,
                        track_id=numbers[i],
                    )
                )
            yield replace(draft, instances=tuple(instances))

    def _instances(self, tracked: TrackedFrame) -> Iterator[Instance]:
        sightings = list(tracked.sightings.values())
        if not sightings:
            return
        logits = torch.stack([s.logits for s in sightings])
        for row, cut in cut_masks(logits, tracked.frame.size_hw, self._segment):
            seen = sightings[row].seen
            yield Instance(
                instance_id="",
                class_id=0 if seen is None else seen.class_id,
                phrase="",
                score=0.0,
                box_xyxy=cut.box_xyxy,
                mask=cut.mask,
                area=cut.area,
                mask_score=sightings[row].mask_score,
                track_id=sightings[row].track_id,
                origin=sightings[row].origin,
                margin=None if seen is None else seen.margin,
                box_iou=None if seen is None else cut.iou_with(seen.box_xyxy),
            )


def ok_record(frame: Frame, instances: tuple[Instance, ...]) -> FrameRecord:
    """What is stored for a frame that was annotated."""
    height, width = frame.size_hw
    return FrameRecord(
        frame_id=frame.frame_id,
        item=frame.item.name,
        media=frame.item.media,
        frame_index=frame.index,
        time_s=frame.time_s,
        width=width,
        height=height,
        status="ok",
        instances=instances,
    )


def failed_record(item: Item, reason: str, *, frame_index: int = 0) -> FrameRecord:
    """What is stored for an item that could not be read, or not beyond a frame."""
    return FrameRecord(
        frame_id=f"{item.name}#{frame_index:06d}" if frame_index else item.name,
        item=item.name,
        media=item.media,
        frame_index=frame_index,
        time_s=0.0,
        width=0,
        height=0,
        status="failed",
        error=reason,
    )


def _root(track: Track, kept: dict[int, Track]) -> int:
    while track.merged_into in kept:
        track = kept[track.merged_into]
    return track.track_id


def _hidden(track: Track, moment: int) -> bool:
    return any(first <= moment <= last for first, last in track.hidden)
