"""Masks of one picture in one plane, for formats in which a pixel is of one object.

Masks may overlap, and nothing in a picture says which object is in front. The rule is: the smaller
one, since what lies on a larger object is smaller, and what is larger would hide it whole; of equal
ones that of the higher score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from annotate.data import geometry
from annotate.data.types import Instance, Rle

HIDDEN = "instance behind others, no pixel of it left"
HIDDEN_MASK = "mask behind others, no pixel of it left"  # of a format that has its box
PARTLY = "mask in part behind another"


class Layers:
    """The plane (h, w) of `instances`: 0 for nothing, i + 1 where instance i is in front.

    `not_held` counts what lies behind; `hidden` is what it calls those of which nothing is left.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        size_hw: tuple[int, int],
        not_held: Counter[str],
        hidden: str = HIDDEN,
    ) -> None:
        self.plane: npt.NDArray[np.int32] = np.zeros(size_hw, np.int32)
        masks = [i.mask.coco for i in instances]
        found = cast(Any, coco_mask.toBbox(masks)) if masks else np.zeros((0, 4))
        boxes = np.asarray(found).astype(int).reshape(-1, 4)
        self._boxes = boxes  # (n, 4) x, y, w, h px of whole masks
        for i in sorted(
            range(len(instances)), key=lambda i: (-instances[i].area, instances[i].score)
        ):
            window = self._window(i)
            inside = geometry.decode_crop(instances[i].mask.counts, size_hw, self._xyxy(i))
            self.plane[window][inside] = i + 1
        self.areas = np.bincount(self.plane.ravel(), minlength=len(instances) + 1)[1:]  # (n,) px
        whole = np.array([i.area for i in instances], int)
        not_held[hidden] += int((self.areas == 0).sum())
        not_held[PARTLY] += int(((self.areas < whole) & (self.areas > 0)).sum())

    def visible(self, i: int) -> Rle:
        """What of a mask is in front."""
        h, w = self.plane.shape
        x, y, *_ = self._xyxy(i)
        part = self.plane[self._window(i)] == i + 1
        return Rle(geometry.encode_crop(part, (x, y), (h, w)), (h, w))

    def box_xywh(self, i: int) -> list[int]:
        """The box of what is in front, px; of nothing, zeros."""
        inside = self.plane[self._window(i)] == i + 1
        (box,) = geometry.mask_boxes(inside[None])
        x, y, *_ = self._xyxy(i)
        x0, y0, x1, y1 = (int(v) for v in box)
        return [x + x0, y + y0, x1 - x0, y1 - y0]

    def painted(self, values: Sequence[int]) -> npt.NDArray[np.int32]:
        """The plane with a value for each instance, (h, w)."""
        palette: npt.NDArray[np.int32] = np.array([0, *values], np.int32)
        return palette[self.plane]

    def _window(self, i: int) -> tuple[slice, slice]:
        x0, y0, x1, y1 = self._xyxy(i)
        return slice(y0, y1), slice(x0, x1)

    def _xyxy(self, i: int) -> tuple[int, int, int, int]:
        x, y, w, h = (int(v) for v in self._boxes[i])
        return x, y, x + w, y + h


def visible(instances: Sequence[Instance], size_hw: tuple[int, int]) -> list[Rle | None]:
    """What of each mask is in front; None of one that is behind others as a whole."""
    layers = Layers(instances, size_hw, Counter())
    return [layers.visible(n) if layers.areas[n] else None for n in range(len(instances))]
