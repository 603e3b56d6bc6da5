"""A tracker without a model that follows what detections say."""

from pathlib import Path

import numpy as np

from annotate.data.types import Detections, Frame, Item
from annotate.track.sightings import TrackedFrame
from annotate.track.tracker import VideoTracker
from tests.settings import TRACK
from tests.track.still_memory import SIDE, StillMemory, box_of

ITEM = Item("clip.mp4", Path("clip.mp4"), "video")


def frames(pictures) -> list[Frame]:
    return [Frame(ITEM, image, index, index / 25) for index, image in enumerate(pictures)]


HERE, THERE, NEAR = (8, 8, 28, 28), (36, 36, 56, 56), (12, 12, 32, 32)  # of 64 px


def blank(count: int, *, colour: int = 40) -> list[Frame]:
    return frames([np.full((SIDE, SIDE, 3), colour, np.uint8)] * count)


class Fixed:
    """A detector that says what it is told, frame by frame."""

    def __init__(self, said) -> None:
        self._said = iter(said)

    def find(self, images) -> list[Detections]:
        return [next(self._said) for _ in images]


def follow(memory: StillMemory, said, *, every=1, rules=TRACK, of=None):
    """A tracker without a model over blank frames; what it says of them."""
    tracker = VideoTracker(memory, Fixed(said), rules, every=every, batch=1)
    return tracker, list(tracker.track(blank(every * (len(said) - 1) + 1) if of is None else of))


def drawn(tracked: TrackedFrame) -> dict:
    return {i: box_of(sighting.logits) for i, sighting in tracked.sightings.items()}
