"""What comes out of tracking: each frame, and which tracks are in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from annotate.data.types import Frame, Origin, Rle
from annotate.segment.base import Embedding
from annotate.track.tracks import Floats


@dataclass(frozen=True, slots=True)
class Seen:
    """One detection in one frame."""

    class_id: int
    box_xyxy: Floats  # (4,) px
    margin: float  # score above that of the best other class there
    agreement: float | None = None  # share of several grounders that found it, 0..1


@dataclass(frozen=True, slots=True)
class Sighting:
    """One track in one frame."""

    track_id: int
    logits: Tensor  # (s, s) low-resolution mask logits, in main memory
    mask_score: float  # the segmenter's estimate of the mask's IoU, 0..1
    origin: Origin
    seen: Seen | None = None  # what the detector found of it in this frame
    given: Rle | None = None  # the mask that came with it, which is then the track's


@dataclass(slots=True)
class TrackedFrame:
    """A frame and who is in it."""

    frame: Frame
    key: bool  # it was grounded
    sightings: dict[int, Sighting] = field(default_factory=dict)  # by track id
    embedding: Embedding | None = None  # while the frame may be looked at again
