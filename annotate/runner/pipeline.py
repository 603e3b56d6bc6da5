"""A frame's way through the models, read aloud: ground, segment, track, record."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from heapq import merge
from typing import Any

import torch

from annotate.config.settings import SegmentSettings, TileSettings, TrackSettings
from annotate.data.stages import Stages
from annotate.data.types import Detections, Frame, FrameRecord, Instance, Item
from annotate.ground.base import Grounder
from annotate.ground.select import Detector
from annotate.models.memory_limit import MemoryLimit
from annotate.models.transfer import to_host
from annotate.segment.base import Segmenter
from annotate.segment.closeup import CloseUp
from annotate.segment.finishing import Cut, Masker, cut_boxes, cut_given, cut_masks
from annotate.segment.video import VideoSegmenter
from annotate.track import settling
from annotate.track.endless import EndlessSettling
from annotate.track.sightings import Sighting
from annotate.track.tracker import STATE_CLASSES, VideoTracker
from annotate.verify.opinions import Opinions

FINISHERS = min(4, os.cpu_count() or 1)  # threads that finish masks
FINISHED_AHEAD = 8  # frames of a video whose masks may be finished while others are tracked
WAITING_MASKS = 512  # of these frames together, 128 MB; one frame waits whatever it has


class Pipeline:
    """The models with one class list; `stages` adds up what each stage takes.

    Masks are finished on threads of their own, while models are at the next frames.
    """

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
        self.stages = Stages()
        self._video = VideoSegmenter(
            segmenter,
            boxes_at_once=boxes_at_once,
            objects_at_once=objects_at_once,
            stages=self.stages,
        )
        self._pool = ThreadPoolExecutor(FINISHERS, thread_name_prefix="finish masks")
        self._segment, self._track = segment, track
        self._opinions = opinions
        self._every, self._batch = every, batch

    @property
    def grounder(self) -> Grounder:
        return self._detector.grounder

    @property
    def boxes_only(self) -> bool:
        """Whether masks are the boxes themselves: see Segmenter."""
        return self._video.boxes_only

    @property
    def takes_points(self) -> bool:
        """Whether `mask_at` can find anything: see Segmenter, has_memory."""
        return self._video.remembers

    def stills(self, frames: Sequence[Frame]) -> list[FrameRecord]:
        """Records of a batch of stills, in their order.

        Raises MemoryError when one is too much, MediaError when one cannot be grounded.
        """
        return self.begin(frames)()

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameRecord]]:
        """As `stills`; what it gives waits for their masks, which others may come before."""
        with self.stages.of("ground"):
            found = self._detector.find(frames)
        with self.stages.of("segment"):
            begun = self._masker.begin_all(frames, found)
        return partial(self._finished, frames, [self._pool.submit(finish) for finish in begun])

    def _finished(
        self, frames: Sequence[Frame], masks: Sequence[Future[tuple[Instance, ...]]]
    ) -> list[FrameRecord]:
        with self.stages.of("masks"):
            made = [of_frame.result() for of_frame in masks]
        if self._opinions is not None:
            with self.stages.of("verify"):
                made = [
                    self._opinions.given(frame.image, instances)
                    for frame, instances in zip(frames, made, strict=True)
                ]
        return [ok_record(f, instances) for f, instances in zip(frames, made, strict=True)]

    def masks(self, frame: Frame, boxes: Detections) -> FrameRecord:
        """A still with masks of boxes that are known already, such as those that people draw."""
        (finish,) = self._masker.begin_all([frame], [boxes])
        return ok_record(frame, finish())

    def mask_at(self, frame: Frame, points: Sequence[tuple[float, float, bool]]) -> Cut | None:
        """The object of a still that lies at points px, each with whether it is on the object.

        None where there is none, and of a segmenter without a memory, which takes boxes alone.
        """
        if not self.takes_points:
            return None
        h, w = frame.size_hw
        side, device = self._video.side, self._video.device
        # A point names the pixel of the square that it lies in: see Memory.seed_points.
        places = torch.tensor([[[x * side / w, y * side / h] for x, y, _ in points]]).floor()
        labels = torch.tensor([[int(on) for _, _, on in points]], dtype=torch.int32)
        places = places.clamp(0, side - 1).to(device)
        seeded = self._video.seed_points(self._video.embed(frame.image), places, labels.to(device))
        (logits,) = to_host(seeded.logits)
        return next((cut for _, cut in cut_masks(logits, (h, w), self._segment)), None)

    def video(
        self, frames: Iterable[Frame], *, after: Mapping[str, Any] | None = None
    ) -> VideoPass:
        """One pass over the frames of a video, in their order.

        With `after`, the state of an earlier pass, it goes on there; the frames must then begin
        with those that it held. Without a memory there are records of key frames alone.
        """
        tracker = self._tracker(self._batch)
        source = iter(frames)
        if after is not None:
            tracker.restore(after["tracker"], source)
        return self._pass(tracker, source, ahead=FINISHED_AHEAD)

    def stream(self, frames: Iterable[Frame]) -> Iterator[FrameRecord]:
        """Records of a video that may have no end, while its frames come in; see VideoPass.so_far.

        A record comes at most 2 * `every` frames after its frame was read.
        """
        # Key frames do not wait for each other, as those of `video` do to share a pass.
        return self._pass(self._tracker(1), frames, ahead=0).so_far()

    def _tracker(self, batch: int) -> VideoTracker:
        return VideoTracker(
            self._video,
            self._detector,
            self._track,
            every=self._every,
            batch=batch,
            stages=self.stages,
        )

    def _pass(self, tracker: VideoTracker, frames: Iterable[Frame], *, ahead: int) -> VideoPass:
        return VideoPass(
            tracker,
            frames,
            self._segment,
            boxes_only=self._video.boxes_only,
            opinions=self._opinions,
            stages=self.stages,
            pool=self._pool,
            ahead=ahead,
        )

    @property
    def device(self) -> torch.device:
        """Where memories are kept."""
        return self._video.device

    @property
    def state_classes(self) -> tuple[type, ...]:
        """The dataclasses that the state of a pass holds."""
        return (*self._video.state_classes, *STATE_CLASSES)


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
        stages: Stages | None = None,
        pool: Executor | None = None,
        ahead: int = 0,
    ) -> None:
        """`boxes_only`: see Segmenter. `opinions` are asked of what was detected in key frames.

        Masks of so many frames `ahead` are finished by the pool while the next ones are tracked;
        with opinions none are, for a track must know them before it is merged into another one.
        """
        self._stages = stages or Stages()
        self._pool = pool
        self._ahead = 0 if opinions is not None or pool is None else ahead
        # Records without their instances, how many masks each has, and what these will be.
        self._waiting: deque[tuple[FrameRecord, int, Future[tuple[Instance, ...]]]] = deque()
        self._tracker = tracker
        self._frames = frames
        self._segment = segment
        self._boxes_only = boxes_only
        self._opinions = opinions
        self._masks = MemoryLimit("masks")

    def state(self) -> dict[str, Any]:
        """What a later pass needs to go on from here; to be asked for `at_rest`, after `rest`."""
        tracker = self._tracker.state()
        return {"tracker": tracker, "held": [index for index, *_ in tracker["held"]]}

    def provisional(self, *, at_rest: Callable[[], None] = lambda: None) -> Iterator[FrameRecord]:
        """A record per frame, in order; see VideoTracker.track for `at_rest`, and `rest`."""
        frames = self._stages.each("decode", self._frames)
        tracked = self._stages.each("track", self._tracker.track(frames, at_rest=at_rest))
        try:
            for one in tracked:
                bare = ok_record(one.frame, ())  # the picture itself need not wait
                sightings = list(one.sightings.values())
                if self._ahead and self._pool is not None:
                    finish = self._pool.submit(self._instances, sightings, one.frame.size_hw)
                    self._waiting.append((bare, len(sightings), finish))
                    while self._is_full():
                        yield self._next()
                    continue
                with self._stages.of("masks"):
                    instances = self._instances(sightings, one.frame.size_hw)
                if self._opinions is not None and one.key:
                    with self._stages.of("verify"):
                        self._ask(self._opinions, one.frame, instances)
                yield replace(bare, instances=instances)
        except Exception:  # what came before stays
            yield from self.rest()
            raise
        yield from self.rest()

    @property
    def waiting(self) -> int:
        """How many records `rest` would give."""
        return len(self._waiting)

    def rest(self) -> Iterator[FrameRecord]:
        """The records that `provisional` has not handed out yet, and then will not."""
        while self._waiting:
            yield self._next()

    def _is_full(self) -> bool:
        masks = sum(count for _, count, _ in self._waiting)
        return len(self._waiting) > (self._ahead if masks <= WAITING_MASKS else 1)

    def _next(self) -> FrameRecord:
        bare, _, masks = self._waiting.popleft()
        with self._stages.of("masks"):
            return replace(bare, instances=masks.result())

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

    def _instances(
        self, sightings: Sequence[Sighting], size_hw: tuple[int, int]
    ) -> tuple[Instance, ...]:
        made = []
        for row, cut in self._cuts(sightings, size_hw):
            seen = sightings[row].seen
            instance = Instance(
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
            made.append(instance)
        return tuple(made)

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
