"""A frame's way through the models, read aloud: ground, segment, record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from annotate.types import Detections, Frame, FrameRecord, Image, Instance, Item


class Grounds(Protocol):
    """Finds the classes in images."""

    def find(self, images: Sequence[Image]) -> list[Detections]: ...


class Segments(Protocol):
    """Refines detections into instances with masks."""

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]: ...


class Pipeline:
    """The models with one class list; `seconds` adds up what each stage took."""

    def __init__(self, grounder: Grounds, segmenter: Segments) -> None:
        self._grounder = grounder
        self._segmenter = segmenter
        self.seconds: Counter[str] = Counter()

    def annotate(self, frames: Sequence[Frame]) -> list[FrameRecord]:
        """Records of a batch of stills, in their order."""
        with self._timed("ground"):
            found = self._grounder.find([frame.image for frame in frames])
        with self._timed("segment"):
            return [
                ok_record(frame, self._segmenter.refine(frame, detections))
                for frame, detections in zip(frames, found, strict=True)
            ]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


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


def failed_record(item: Item, reason: str) -> FrameRecord:
    """What is stored for an item that could not be read."""
    return FrameRecord(
        frame_id=item.name,
        item=item.name,
        media=item.media,
        frame_index=0,
        time_s=0.0,
        width=0,
        height=0,
        status="failed",
        error=reason,
    )
