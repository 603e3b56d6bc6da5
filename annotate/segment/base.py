"""What a segmenter is: pictures embedded, boxes turned into mask logits, and memory if it has one.

How masks are cleaned, cut to the picture and encoded is not a segmenter's business: see
`annotate.segment.finishing`. One more segmenter is a class made from `Segmenter` and a yaml that
names it: docs/extending.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from annotate.data.types import Image
from annotate.models.provenance import of_class

if TYPE_CHECKING:
    import torch
    from torch import Tensor


NO_MEMORY = (
    "this segmenter has no memory for videos: overlap and motion of detections tell who is who, "
    "and masks come from the frames that are grounded, the only ones recorded (ground.every)"
)


class Segmenter(ABC):
    """Turns boxes in pictures into masks.

    The parameters of `__init__` are the keys of its config; they are checked by their annotations.
    Making one must cost nothing: weights come with `load`.
    """

    decides_nothing: ClassVar[tuple[str, ...]] = ("device",)
    """Parameters that a resume may change; the kind of device is noted by itself."""

    has_memory: ClassVar[bool] = False
    """Whether it can carry objects through a video. Without, overlap and motion tell who is who."""

    boxes_only: ClassVar[bool] = False
    """Whether its masks are the boxes themselves, which records then hold to the last digit."""

    memory: Memory | None = None
    """What carries them, once `load` has come."""

    @abstractmethod
    def load(self) -> None:
        """Make ready; called once, before the others. Raises WeightsError."""

    @abstractmethod
    def embed(self, images: Sequence[Image]) -> list[Any]:
        """What `decode` needs to know of each picture, RGB uint8 (h, w, 3), all of one size."""

    @abstractmethod
    def decode(self, embedding: Any, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (k >= 1, 4) xyxy px in one picture to mask logits (k, a, b) and estimates (k,).

        Logits cover the whole picture at any resolution, and are above 0 on the object. Estimates
        are of the mask's IoU with the object, 0..1. Where memory runs out, the error is let pass:
        it is tried again with fewer boxes.
        """

    def decode_all(
        self, embeddings: Sequence[Any], boxes: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """As `decode`, of several pictures with the boxes of each, which may share passes."""
        return [self.decode(e, boxes_k4) for e, boxes_k4 in zip(embeddings, boxes, strict=True)]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Which weights answer, for the run's record. After `load`."""
        return of_class(type(self))


class Embedding(Protocol):
    """What a segmenter with a memory knows of a frame; without one it is whatever it likes."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the frame, px."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a memory says of k objects in one frame."""

    logits: Tensor  # (k, s, s) low-resolution mask logits
    ious: Tensor  # (k,) the model's own estimate of the mask's IoU, 0..1
    present: Tensor  # (k,) object score logits; > 0: the object is in the frame
    pointers: Tensor  # (k, c) object pointers

    def __len__(self) -> int:
        return len(self.logits)


class Memory(Protocol):
    """Seeds objects in a frame, carries them to the next, and remembers them in a bank."""

    @property
    def side(self) -> int:
        """Of the square that points are given in, px."""

    @property
    def state_classes(self) -> tuple[type, ...]:
        """The dataclasses that `state` holds."""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""

    def bank(self, *, max_anchors: int) -> Any:
        """An empty bank for one video, with `anchor`, `remember` and the `forget`s."""

    def state(self, bank: Any) -> dict[str, Any]:
        """A bank as plain values, to go on from in another process."""

    def restore(self, bank: Any, state: dict[str, Any]) -> None:
        """Fill a bank with what `state` gave."""

    def seed_masks(self, embedding: Any, masks_khw: Tensor) -> Prediction:
        """Objects given as bool masks (k, h, w) at frame size."""

    def seed_boxes(self, embedding: Any, boxes_k4: Tensor) -> Prediction:
        """Objects given as boxes (k, 4) xyxy px."""

    def seed_points(self, embedding: Any, points_kp2: Tensor, labels_kp: Tensor) -> Prediction:
        """Objects given as points (k, p, 2) in px of the square, labelled as SAM does.

        A point is the pixel it lies in, column and row counted from 0, not that pixel's centre.
        """

    def carry(self, embedding: Any, bank: Any, ids: Sequence[int], time: int) -> Prediction:
        """Find the objects `ids` of the bank in the frame at `time`."""

    def encode(
        self, embedding: Any, logits_kss: Tensor, present_k: Tensor, *, prompted: bool
    ) -> Tensor:
        """Mask memories (k, m, s, s) of objects whose masks are given as low-resolution logits."""
