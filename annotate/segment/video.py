"""A segmenter with its memory, for videos: boxes and objects in groups that fit in RAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from annotate.data.stages import Stages
from annotate.data.types import Image
from annotate.models.memory_limit import MemoryLimit
from annotate.segment.base import Memory, Prediction, Segmenter
from annotate.segment.finishing import decode_all, joined, some
from annotate.segment.no_memory import NoMemory


class VideoSegmenter:
    """What a tracker asks: of a segmenter some pictures, of its memory a group of objects.

    Objects do not see each other in a memory, so a group of them is a pass like any. Raises
    MemoryError when one box or object alone is too much. Of a segmenter without a memory, which
    `remembers` tells, nothing may be carried, seeded or encoded.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        boxes_at_once: MemoryLimit | None = None,
        objects_at_once: MemoryLimit | None = None,
        stages: Stages | None = None,
    ) -> None:
        """`stages` adds up what pictures and boxes take, as `segment`."""
        self._stages = stages or Stages()
        self.remembers = segmenter.memory is not None
        self.boxes_only = segmenter.boxes_only
        self._segmenter = segmenter
        self._memory = segmenter.memory or cast(Memory, NoMemory())
        self._boxes_at_once = boxes_at_once or MemoryLimit("boxes")
        self._objects_at_once = objects_at_once or MemoryLimit("objects")
        self._pictures = MemoryLimit("pictures")
        self.bank = self._memory.bank
        self.state = self._memory.state
        self.restore = self._memory.restore

    @property
    def side(self) -> int:
        """As Memory's."""
        return self._memory.side

    @property
    def device(self) -> torch.device:
        """As Memory's."""
        return self._memory.device

    @property
    def state_classes(self) -> tuple[type, ...]:
        """As Memory's."""
        return self._memory.state_classes

    def embed(self, image: Image) -> Any:
        """Of one picture."""
        (embedding,) = self.embed_all([image])
        return embedding

    def embed_all(self, images: Sequence[Image]) -> list[Any]:
        """As Segmenter's `embed`, as many at a time as fit."""
        with self._stages.of("segment"):
            passes = self._pictures.slices(images, self._segmenter.embed)
            return [embedding for made in passes for embedding in made]

    def decode_all(
        self, embeddings: Sequence[Any], boxes: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """As Segmenter's, as many boxes at a time as fit."""
        with self._stages.of("segment"):
            return decode_all(self._segmenter, embeddings, boxes, self._boxes_at_once)

    def seed_masks(self, embedding: Any, masks_khw: Tensor) -> Prediction:
        """As Memory's."""
        seed = self._memory.seed_masks
        return self._joined(len(masks_khw), lambda rows: seed(embedding, masks_khw[some(rows)]))

    def seed_boxes(self, embedding: Any, boxes_k4: Tensor) -> Prediction:
        """As Memory's."""
        seed = self._memory.seed_boxes
        return self._joined(len(boxes_k4), lambda rows: seed(embedding, boxes_k4[some(rows)]))

    def seed_points(self, embedding: Any, points_kp2: Tensor, labels_kp: Tensor) -> Prediction:
        """As Memory's."""
        seed = self._memory.seed_points
        return self._joined(
            len(points_kp2),
            lambda rows: seed(embedding, points_kp2[some(rows)], labels_kp[some(rows)]),
        )

    def carry(self, embedding: Any, bank: Any, ids: Sequence[int], time: int) -> Prediction:
        """As Memory's."""
        carry = self._memory.carry
        return self._joined(
            len(ids), lambda rows: carry(embedding, bank, [ids[r] for r in rows], time)
        )

    def encode(
        self, embedding: Any, logits_kss: Tensor, present_k: Tensor, *, prompted: bool
    ) -> Tensor:
        """As Memory's."""
        encode = self._memory.encode
        groups = self._objects_at_once.slices(
            range(len(logits_kss)),
            lambda rows: encode(
                embedding, logits_kss[some(rows)], present_k[some(rows)], prompted=prompted
            ),
        )
        return joined(list(groups))

    def _joined(self, count: int, predict: Callable[[Sequence[int]], Prediction]) -> Prediction:
        groups = list(self._objects_at_once.slices(range(count), predict))
        if len(groups) == 1:
            return groups[0]
        return Prediction(
            torch.cat([g.logits for g in groups]),
            torch.cat([g.ious for g in groups]),
            torch.cat([g.present for g in groups]),
            torch.cat([g.pointers for g in groups]),
        )
