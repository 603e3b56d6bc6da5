"""A frame's way through the models, read aloud: ground, segment, track, record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from typing import Any

import torch

from annotate.config.settings import SegmentSettings, TileSettings, TrackSettings
from annotate.data.types import Frame, FrameRecord, Instance, Item
from annotate.ground.base import Grounder
from annotate.ground.select import Detector
from annotate.models.memory_limit import MemoryLimit
from annotate.segment.base import Segmenter
from annotate.segment.closeup import CloseUp
from annotate.segment.finishing import Cut, Masker, cut_boxes, cut_given, cut_masks
from annotate.segment.video import VideoSegmenter
from annotate.track import settling
from annotate.track.endless import EndlessSettling
from annotate.track.sightings import Sighting, TrackedFrame
from annotate.track.tracker import STATE_CLASSES, VideoTracker
from annotate.verify.opinions import Opinions


class Pipeline:
    """The models with one class list; `seconds` adds up what each stage took."""

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        *,
        segment: SegmentSettings,
        track: TrackSettings,
        every: int,
        batch: int,
        boxes_at_once: MemoryLimit | None = None,
        objects_at_once: MemoryLimit | None = None,
        tile: TileSettings | None = None,
        opinions: Opinions | None = None,
    ) -> None:
        """`every`: frames of a video from one grounding to the next; `batch`: key frames a pass.

        `tile`: how close masks of stills are looked at; a memory sees the frames of videos whole.
        """
        self._detector = detector
        masker = Masker(segmenter, segment, at_once=boxes_at_once)
        self._masker = CloseUp(masker, tile) if tile is not None else masker
        self._video = VideoSegmenter(
            segmenter, boxes_at_once=boxes_at_once, objects_at_once=objects_at_once
        )
        self._segment, self._track = segment, track
        self._opinions = opinions
        self._every, self._batch = every, batch
        self.seconds: Counter[str] = Counter()

    @property
    def grounder(self) -> Grounder:
        return self._detector.grounder

    def stills(self, frames: Sequence[Frame]) -> list[FrameRecord]:
        """Records of a batch of stills, in their order.

        Raises MemoryError when one is too much, MediaError when one cannot be grounded.
        """
        with self._timed("ground"):
            found = self._detector.find(frames)
        with self._timed("segment"):
            made = self._masker.refine_all(frames, found)
        if self._opinions is not None:
            with self._timed("verify"):
                made = [
                    self._opinions.given(frame.image, instances)
                    for frame, instances in zip(frames, made, strict=True)
                ]
        return [ok_record(f, instances) for f, instances in zip(frames, made, strict=True)]

    def video(
        self, frames: Iterable[Frame], *, after: Mapping[str, Any] | None = None
    ) -> VideoPass:
        """One pass over the frames of a video, in their order.

        With `after`, the state of an earlier pass, it goes on there; the frames must then begin
        with those that it held. Without a memory there are records of key frames alone.
        """
        tracker = VideoTracker(
            self._video, self._detector, self._track, every=self._every, batch=self._batch
        )
        source = iter(frames)
        if after is not None:
            tracker.restore(after["tracker"], source)
        return self._pass(tracker, source)

    def stream(self, frames: Iterable[Frame]) -> Iterator[FrameRecord]:
        """Records of a video that may have no end, while its frames come in; see VideoPass.so_far.

        A record comes at most 2 * `every` frames after its frame was read.
        """
        # Key frames do not wait for each other, as those of `video` do to share a pass.
        tracker = VideoTracker(self._video, self._detector, self._track, every=self._every, batch=1)
        return self._pass(tracker, frames).so_far()

    def _pass(self, tracker: VideoTracker, frames: Iterable[Frame]) -> VideoPass:
        return VideoPass(
            tracker,
            frames,
            self._segment,
            boxes_only=self._video.boxes_only,
            opinions=self._opinions,
        )

    @property
    def device(self) -> torch.device:
        """Where memories are kept."""
        return self._video.device

    @property
    def state_classes(self) -> tuple[type, ...]:
        """The dataclasses that the state of a pass holds."""
        return (*self._video.state_classes, *STATE_CLASSES)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


class VideoPass:
    """A video's records in two readings: provisional ones as frames pass, then the settled.

    Which tracks stand, and under which class, is known only when the video has ended. Provisional
    records carry the tracker's own ids, and the class of the frame's detection where it has one;
    `settled` gives each what its track came to.
    """

    def __init__(
        self,
        tracker: VideoTracker,
        frames: Iterable[Frame],
        segment: SegmentSettings,
        *,
        boxes_only: bool = False,
        opinions: Opinions | None = None,
    ) -> None:
        """`boxes_only`: see Segmenter. `opinions` are asked of what was detected in key frames."""
        self._tracker = tracker
        self._frames = frames
        self._segment = segment
        self._boxes_only = boxes_only
        self._opinions = opinions
        self._masks = MemoryLimit("masks")

    def state(self) -> dict[str, Any]:
        """What a later pass needs to go on from here; to be asked for `at_rest`."""
        tracker = self._tracker.state()
        return {"tracker": tracker, "held": [index for index, *_ in tracker["held"]]}

    def provisional(self, *, at_rest: Callable[[], None] = lambda: None) -> Iterator[FrameRecord]:
        """A record per frame, in order; see VideoTracker.track for `at_rest`."""
        for tracked in self._tracker.track(self._frames, at_rest=at_rest):
            instances = tuple(self._instances(tracked))
            if self._opinions is not None and tracked.key:
                self._ask(self._opinions, tracked.frame, instances)
            yield ok_record(tracked.frame, instances)

    def _ask(self, opinions: Opinions, frame: Frame, instances: tuple[Instance, ...]) -> None:
        """Have the tracks of what was detected in a frame remember a second opinion on it."""
        detected = tuple(i for i in instances if i.margin is not None)
        for instance in opinions.given(frame.image, detected):
            assert instance.verified is not None
            self._tracker.opine(instance.track_id, instance.class_id, instance.verified)

    def settled(self, provisional: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The final records, from all the provisional ones, given again."""
        yield from settling.settle(provisional, self._tracker.kept())

    def so_far(self) -> Iterator[FrameRecord]:
        """A record per frame, in order, settled by what is known when it is handed out.

        Memory stays flat, however many frames there are: tracks that are over are forgotten.
        """
        endless = EndlessSettling()
        records = self.provisional(at_rest=lambda: endless.let_go(self._tracker.let_go()))
        for moment, record in enumerate(records):
            yield endless.settle(record, moment, self._tracker.kept())

    def _instances(self, tracked: TrackedFrame) -> Iterator[Instance]:
        sightings = list(tracked.sightings.values())
        if not sightings:
            return
        for row, cut in self._cuts(sightings, tracked.frame.size_hw):
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
                agreement=None if seen is None else seen.agreement,
            )

    def _cuts(
        self, sightings: Sequence[Sighting], size_hw: tuple[int, int]
    ) -> Iterator[tuple[int, Cut]]:
        """The finished masks of sightings, by their rows."""
        asked = [row for row, sighting in enumerate(sightings) if sighting.given is None]
        own: Iterator[tuple[int, Cut]] = iter(())
        if asked and self._boxes_only:  # without a memory, so all of them were detected
            seen = [sightings[row].seen for row in asked]
            own = cut_boxes([s.box_xyxy for s in seen if s is not None], size_hw)
        elif asked:
            logits = torch.stack([sightings[row].logits for row in asked])
            own = cut_masks(logits, size_hw, self._segment, self._masks)
        given = cut_given([sighting.given for sighting in sightings])
        return merge(((asked[n], cut) for n, cut in own), given, key=lambda found: found[0])


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
