"""SAM 2's memory with the objects of a frame in groups that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from annotate.models.memory_limit import Backoff
from annotate.segment.sam2 import Embedding, Sam2Image
from annotate.segment.sam2_memory import MemoryBank, Prediction, Sam2Memory


class GroupedMemory(Sam2Memory):
    """Objects do not see each other in SAM 2's memory, so a group of them is a pass like any."""

    def __init__(self, image: Sam2Image, *, at_once: Backoff | None = None) -> None:
        """`at_once` limits the objects of a pass; MemoryError when one alone is too much."""
        super().__init__(image)
        self._at_once = at_once or Backoff("objects")

    def seed_masks(self, embedding: Embedding, masks_khw: Tensor) -> Prediction:
        """As Sam2Memory's."""
        seed = super().seed_masks
        return self._joined(len(masks_khw), lambda rows: seed(embedding, masks_khw[rows]))

    def seed_points(
        self, embedding: Embedding, points_kp2: Tensor, labels_kp: Tensor
    ) -> Prediction:
        """As Sam2Memory's."""
        seed = super().seed_points
        return self._joined(
            len(points_kp2), lambda rows: seed(embedding, points_kp2[rows], labels_kp[rows])
        )

    def carry(
        self, embedding: Embedding, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> Prediction:
        """As Sam2Memory's."""
        carry = super().carry
        return self._joined(
            len(ids), lambda rows: carry(embedding, bank, [ids[r] for r in rows], time)
        )

    def encode(
        self, embedding: Embedding, logits_kss: Tensor, present_k: Tensor, *, prompted: bool
    ) -> Tensor:
        """As Sam2Memory's."""
        encode = super().encode
        groups = self._at_once.slices(
            range(len(logits_kss)),
            lambda rows: encode(
                embedding, logits_kss[list(rows)], present_k[list(rows)], prompted=prompted
            ),
        )
        return torch.cat(list(groups))

    def _joined(self, count: int, predict: Callable[[list[int]], Prediction]) -> Prediction:
        groups = list(self._at_once.slices(range(count), lambda rows: predict(list(rows))))
        if len(groups) == 1:
            return groups[0]
        return Prediction(
            torch.cat([g.logits for g in groups]),
            torch.cat([g.ious for g in groups]),
            torch.cat([g.present for g in groups]),
            torch.cat([g.pointers for g in groups]),
        )
