"""Track objects through a video: SAM 2's memory carries the masks, the detector keeps them honest.

Key frames are grounded and segmented; what is found there confirms, corrects or gives birth to
tracks. Between key frames the masks are carried by memory alone. Frames are released once nothing
can change them any more, which is when the key frame after them is done: that bounds the memory.

Without a memory, detections are followed by overlap and motion, and time is counted in key frames:
nothing is known of the frames between them, and these are not handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np

from annotate.config.settings import TrackSettings
from annotate.data.stages import Stages
from annotate.data.types import Detections, Frame, Rle
from annotate.ground.select import Detector
from annotate.segment.base import Embedding
from annotate.segment.video import VideoSegmenter
from annotate.track.backfill import carry_back
from annotate.track.key_frame import KeyFrame
from annotate.track.live_tracks import LiveTracks
from annotate.track.observations import Carried, Found, segment, segment_all, square
from annotate.track.scenes import KeyFramePicker
from annotate.track.settling import keep
from annotate.track.sightings import Seen, Sighting, TrackedFrame
from annotate.track.tracks import Track

WINDOW = 32  # frames read ahead so that key frames share a forward
KEPT_EMBEDDINGS = 32  # of frames between key frames; further ones are embedded again when needed

# What a tracker's state holds besides plain values and what the memory's holds.
STATE_CLASSES = (Track, Sighting, Seen, Rle)


@dataclass(slots=True)
class _Look:
    """A frame before it is tracked; what is None of it is looked for when its turn comes."""

    frame: Frame
    cut: bool  # a scene begins with it
    detections: Detections | None  # of a key frame
    embedding: Any = None
    found: Found | None = None


class VideoTracker:
    """Tracks one video; when `track` is exhausted, `kept` says what each track came to."""

    def __init__(
        self,
        memory: VideoSegmenter,
        detector: Detector,
        rules: TrackSettings,
        *,
        every: int,
        batch: int,
        stages: Stages | None = None,
    ) -> None:
        """`every`: frames from one grounding to the next; `batch`: key frames per forward.

        `stages` adds up what grounding takes, as `ground`.
        """
        self._stages = stages or Stages()
        self._memory = memory
        self._detector = detector
        self._every = every
        self._batch = batch
        self._picker = KeyFramePicker(every=every, cut=rules.cut)
        self._live = LiveTracks(memory, rules.at_rhythm(every, blind=not memory.remembers))
        self._held: list[TrackedFrame] = []  # since the last key frame

    def track(
        self, frames: Iterable[Frame], *, at_rest: Callable[[], None] = lambda: None
    ) -> Iterator[TrackedFrame]:
        """Frames in their order with their sightings, each some frames after it was read.

        `at_rest` is called now and then, when `state` can be asked for: what was handed out and
        what the state holds are then all that was read. Raises MemoryError when a frame is too
        much, with those before it handed out.
        """
        for look in self._looked(frames, at_rest):
            if look.cut:
                yield from self._known(self._held)
                self._held = []
                self._live.end_all()
            if look.detections is None and not self._memory.remembers:
                self._held.append(TrackedFrame(look.frame, key=False))
                continue
            try:
                step = self._step(look)
            except MemoryError:  # what came before stays
                yield from self._known(self._held)
                raise
            self._held.append(step)
            self._live.time += 1
            if look.detections is not None:
                yield from self._known(self._held[:-1])
                self._held = self._held[-1:]
        yield from self._known(self._held)

    def _known(self, held: Iterable[TrackedFrame]) -> Iterator[TrackedFrame]:
        """Those of the frames of which something is known."""
        return (tracked for tracked in held if tracked.key or self._memory.remembers)

    def kept(self) -> dict[int, Track]:
        """The tracks that had the detections they should have had, and what was found of them."""
        born, rules = self._live.born, self._live.rules
        kept = {i for i, track in born.items() if keep(track, rules)}
        kept |= {i for i, track in born.items() if track.weak and track.merged_into in kept}
        return {i: born[i] for i in sorted(kept)}

    def opine(self, track_id: int, class_id: int, opinion: float) -> None:
        """Note a second opinion, 0..1, on a track as this class; of one that is over, none."""
        if (track := self._live.born.get(track_id)) is not None:
            track.opine(class_id, opinion)

    def let_go(self) -> Collection[int]:
        """Forget tracks that are over and in no frame still held; the ids of those left.

        For a video without end: after this, `kept` knows of no others.
        """
        self._live.let_go({i for held in self._held for i in held.sightings})
        return self._live.born.keys()

    def state(self) -> dict[str, Any]:
        """All that a tracker needs to go on from here; see `at_rest`."""
        return {
            "tracks": self._live.born,
            "alive": list(self._live.alive),
            "weak": list(self._live.weak),
            "births": self._live.births,
            "held": [(h.frame.index, h.key, h.sightings) for h in self._held],
            "time": self._live.time,
            "thumbnail": self._picker.thumbnail,
            "since_key": self._picker.since_key,
            "memory": self._memory.state(self._live.bank),
        }

    def restore(self, state: dict[str, Any], frames: Iterator[Frame]) -> None:
        """Go on from the state of a tracker with the same models and rules.

        `frames` begin with those that it still held, whose pictures are not in the state.
        """
        self._live.born = state["tracks"]
        self._live.alive = {i: self._live.born[i] for i in state["alive"]}
        self._live.weak = {i: self._live.born[i] for i in state.get("weak", ())}
        self._live.births = state.get("births", len(self._live.born))
        for _, _, sightings in state["held"]:
            for track_id, seen in sightings.items():
                sightings[track_id] = replace(seen, logits=seen.logits.cpu())
        self._held = [
            TrackedFrame(next(frames), key, sightings) for _, key, sightings in state["held"]
        ]
        self._live.time = state["time"]
        self._picker.thumbnail = state["thumbnail"]
        self._picker.since_key = state["since_key"]
        self._memory.restore(self._live.bank, state["memory"])

    def _looked(self, frames: Iterable[Frame], at_rest: Callable[[], None]) -> Iterator[_Look]:
        """Each frame with what models say of it alone; neighbours share their passes."""
        source = pairwise(chain(frames, [None]))  # each frame with the one that follows it
        keys_at_once = max(1, min(self._batch, WINDOW // self._every))
        while window := list(islice(source, keys_at_once * self._every)):
            marks = [
                (frame, *self._picker.look(frame.image, after.image if after else None))
                for frame, after in window
                if frame is not None
            ]
            keys = [frame for frame, _, key in marks if key]
            found: list[Detections] = []
            for i in range(0, len(keys), keys_at_once):
                with self._stages.of("ground"):
                    found += self._detector.find(keys[i : i + keys_at_once])
            of_keys = iter(found)
            looks = [_Look(frame, cut, next(of_keys) if key else None) for frame, cut, key in marks]
            while looks:
                some, looks = looks[: self._batch], looks[self._batch :]
                self._segment(some)
                while some:  # none is held longer than its turn
                    yield some.pop(0)
            at_rest()

    def _segment(self, looks: Sequence[_Look]) -> None:
        """Embed frames together, and their detections' masks; what does not fit waits its turn."""
        if self._batch == 1:
            return
        asked = [k for k in looks if k.detections is not None or self._memory.remembers]
        try:
            embeddings = self._memory.embed_all([look.frame.image for look in asked])
            for look, embedding in zip(asked, embeddings, strict=True):
                look.embedding = embedding
            keys = [look for look in asked if look.detections is not None]
            found = segment_all(
                self._memory,
                [key.embedding for key in keys],
                [key.detections for key in keys if key.detections is not None],
                [key.frame.size_hw for key in keys],
            )
            for key, of_frame in zip(keys, found, strict=True):
                key.found = of_frame
        except MemoryError:
            for look in looks:
                look.embedding = look.found = None

    def _step(self, look: _Look) -> TrackedFrame:
        """Carry the tracks into a frame; in a key frame, settle them with what was found."""
        frame, detections = look.frame, look.detections
        result = TrackedFrame(frame, key=detections is not None)
        embedding = look.embedding
        if embedding is None:
            embedding = self._memory.embed(frame.image)
        carried = self._live.carry(embedding, frame.size_hw)
        if detections is None:
            if len(self._held) <= KEPT_EMBEDDINGS:
                result.embedding = embedding
            self._follow(result, embedding, carried)
        else:
            found = look.found
            if found is None:
                found = segment(self._memory, embedding, detections, frame.size_hw)
            key_frame = KeyFrame(self._live, result, embedding, carried, found, self._every)
            seeds = key_frame.resolve()
            if self._memory.remembers:
                carry_back(self._memory, self._held, seeds, self._live.rules)
        return result

    def _follow(self, result: TrackedFrame, embedding: Embedding, carried: Carried) -> None:
        """Between key frames: what memory says is what is."""
        live = self._live
        for row in np.flatnonzero(carried.shown).tolist():
            track_id = carried.ids[row]
            live.alive[track_id].see(live.time, carried.boxes[row], square(carried.masks[row]))
            result.sightings[track_id] = carried.sighting(row, "propagated")
        live.remember(embedding, carried.ids, carried.said)
