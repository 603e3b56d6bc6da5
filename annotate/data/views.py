"""Parts of a large picture that are looked at by themselves, as well as the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from annotate.data.types import Image

AUTO_PX = 1024  # side of a tile, and half of the longer side from which pictures are tiled


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture, px, half-open; the first view of a picture is all of it."""

    x0: int
    y0: int
    x1: int
    y1: int

    def of(self, image: Image) -> Image:
        """Its pixels."""
        return np.ascontiguousarray(image[self.y0 : self.y1, self.x0 : self.x1])


def views(
    size_hw: tuple[int, int], size: int | Literal["auto"] | None, overlap: float
) -> list[View]:
    """The whole picture, and where tiles are asked for and pay, tiles of one size that cover it.

    `size` is their side, px, `overlap` the share of a tile that neighbours have in common at least.
    """
    h, w = size_hw
    whole = View(0, 0, w, h)
    side = AUTO_PX if size == "auto" else size
    if side is None or max(h, w) <= (2 * AUTO_PX if size == "auto" else side):
        return [whole]
    th, tw = min(side, h), min(side, w)
    return [
        whole,
        *(
            View(x, y, x + tw, y + th)
            for y in _starts(h, th, overlap)
            for x in _starts(w, tw, overlap)
        ),
    ]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin, spread evenly, so that neighbours share `overlap` of a tile or more."""
    count = 1 + math.ceil((length - side) / max(1, side * (1 - overlap)))
    return [round(n * (length - side) / max(1, count - 1)) for n in range(count)]
