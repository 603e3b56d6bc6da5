"""Boxes only: no model, and no masks but the boxes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from annotate.data.types import Image
from annotate.segment.base import Segmenter

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 256  # of the logits


class Boxes(Segmenter):
    """The mask of a box is the box, filled."""

    boxes_only = True

    def load(self) -> None:
        """See Segmenter; there is nothing to be loaded."""

    def embed(self, images: Sequence[Image]) -> list[tuple[int, int]]:
        """See Segmenter; the size (h, w) of each picture."""
        return [image.shape[:2] for image in images]

    def decode(self, embedding: tuple[int, int], boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """See Segmenter; how deep in its box each point of a grid is, in steps of the grid.

        They serve to compare boxes; records take the boxes themselves. A box that no point lies in
        has the one nearest to its centre.
        """
        import torch

        h, w = embedding
        boxes = boxes_k4.float().cpu() / torch.tensor([w, h, w, h]) * SIDE
        points = torch.arange(SIDE) + 0.5

        def depth(starts: Tensor, ends: Tensor) -> Tensor:
            centres = ((starts + ends) / 2).floor().clamp(0, SIDE - 1) + 0.5
            starts = torch.minimum(starts, centres - 0.25)
            ends = torch.maximum(ends, centres + 0.25)
            return torch.minimum(points - starts[:, None], ends[:, None] - points)

        across, down = depth(boxes[:, 0], boxes[:, 2]), depth(boxes[:, 1], boxes[:, 3])
        return torch.minimum(down[:, :, None], across[:, None, :]), torch.ones(len(boxes))
