"""What a verifier is shown of an instance: its box with some room, what is around it faded."""

from __future__ import annotations

import numpy as np

from annotate.data import geometry
from annotate.data.types import Image, Instance

GREY = 128  # what the surroundings fade to


def crop_of(image: Image, instance: Instance, *, room: float, outside: float) -> Image:
    """The part of a picture (h, w, 3) around an instance, a copy, at least one pixel.

    `room`: of the box's longer side, on each side of it; `outside`: how much of what is not in the
    mask stays, 0 (grey) to 1 (as it is).
    """
    h, w = image.shape[:2]
    x0, y0, x1, y1 = instance.box_xyxy
    around = room * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - around)), max(0, int(y0 - around))
    right, bottom = min(w, int(np.ceil(x1 + around))), min(h, int(np.ceil(y1 + around)))
    left, top = min(left, w - 1), min(top, h - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = image[top:bottom, left:right].astype(np.float32)
    if outside < 1:
        (mask,) = geometry.decode_masks([instance.mask.counts], instance.mask.size_hw)
        off = ~mask[top:bottom, left:right]
        part[off] = GREY + outside * (part[off] - GREY)
    return np.clip(np.rint(part), 0, 255).astype(np.uint8)
