"""A memory without a model: it draws each object where it was remembered last.

Frames are SIDE x SIDE pictures; a mask is a box, and what memory keeps of it are its logits.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import torch

from annotate.data.types import Detections
from annotate.segment.base import Prediction
from annotate.segment.sam2.image import Embedding
from annotate.segment.sam2.memory import MemoryBank

SIDE = 64  # px, of frames and of logits
Box = tuple[int, int, int, int]  # xyxy px
NOWHERE = (0, 0, 0, 0)


def drawing(box: Box) -> torch.Tensor:
    """Logits (SIDE, SIDE) of a mask that fills a box."""
    x0, y0, x1, y1 = box
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[y0:y1, x0:x1] = 5
    return logits


def box_of(logits: torch.Tensor) -> Box:
    """The box that `drawing` filled."""
    ys, xs = np.nonzero(logits.numpy() > 0)
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else NOWHERE


def detections(*rows: tuple[Box, float, int]) -> Detections:
    """Boxes with score and class, the best first."""
    return Detections(
        boxes_xyxy=np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in rows], np.float32),
        class_ids=np.array([class_id for _, _, class_id in rows], np.int32),
        phrases=tuple(f"class {class_id}" for _, _, class_id in rows),
        margins=np.array([score for _, score, _ in rows], np.float32),
    )


class StillMemory:
    """`moved` says where objects are drawn instead: time -> object -> box."""

    def __init__(
        self,
        moved: Mapping[int, Mapping[int, Box]] | None = None,
        *,
        of_detections: float = 0.9,
        of_memory: float = 0.8,
    ) -> None:
        """`of_detections`, `of_memory`: what the model thinks of its masks."""
        self.side = SIDE
        self.remembers = True
        self._model = SimpleNamespace(num_maskmem=7, max_obj_ptrs_in_encoder=16)
        self.banks: list[MemoryBank] = []
        self.embedded = 0  # frames
        self._moved = moved or {}
        self._of_detections, self._of_memory = of_detections, of_memory

    def bank(self, *, max_anchors: int) -> MemoryBank:
        self.banks.append(MemoryBank(self._model, max_anchors=max_anchors))
        return self.banks[-1]

    def state(self, bank: MemoryBank) -> dict:
        return bank.state()

    def restore(self, bank: MemoryBank, state: dict) -> None:
        bank.restore(state)

    def embed(self, image: np.ndarray) -> Embedding:
        self.embedded += 1
        nothing = torch.zeros(0)
        return Embedding(nothing, nothing, [], image.shape[:2])

    def embed_all(self, images) -> list[Embedding]:
        return [self.embed(image) for image in images]

    def decode_all(self, embeddings, boxes):
        return [self.decode(e, some) for e, some in zip(embeddings, boxes, strict=True)]

    def decode(self, embedding: Embedding, boxes: torch.Tensor):
        logits = torch.stack([drawing(tuple(box)) for box in boxes.int().tolist()])
        return logits, torch.full((len(boxes),), self._of_detections)

    def carry(self, embedding: Embedding, bank: MemoryBank, ids, time: int) -> Prediction:
        moved = self._moved.get(time, {})
        return self._said(
            [drawing(moved[i]) if i in moved else self._newest(bank, i, time) for i in ids],
            self._of_memory,
        )

    def encode(self, embedding: Embedding, logits, present, *, prompted: bool) -> torch.Tensor:
        return logits[:, None].clone()

    def seed_masks(self, embedding: Embedding, masks: torch.Tensor) -> Prediction:
        return self._said([torch.where(mask, 5.0, -5.0) for mask in masks], self._of_detections)

    def _newest(self, bank: MemoryBank, object_id: int, time: int) -> torch.Tensor:
        (held,) = bank.recall([object_id], time)
        anchors = held.ages.count(0)
        ago = [*held.distances[0, :anchors].tolist(), *held.ages[anchors:]]
        return held.tokens[0, min(range(len(ago)), key=ago.__getitem__)].view(SIDE, SIDE)

    @staticmethod
    def _said(logits, iou: float) -> Prediction:
        stacked = torch.stack(logits)
        k = len(stacked)
        return Prediction(stacked, torch.full((k,), iou), stacked.amax((1, 2)), torch.zeros(k, 4))
