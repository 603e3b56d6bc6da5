"""Low-resolution logits to masks at frame size, of each no more than where it may be.

A mask costs what its object costs, not what the frame costs. The arithmetic is that of torch's
bilinear interpolation, tap by tap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a mask that may be filled."""

    mask: npt.NDArray[np.bool_]  # (h, w)
    corner_xy: tuple[int, int]  # pixel of the frame at which it begins
    is_clean: bool  # surely one part without holes


@dataclass(frozen=True, slots=True)
class _Taps:
    """Along one axis, the two samples that each pixel lies between, and their weights."""

    low: npt.NDArray[np.intp]  # (n,) the sample before, rising
    high: npt.NDArray[np.intp]  # (n,) the one after
    before: Floats  # (n,) weight of the sample before
    after: Floats  # (n,)

    @classmethod
    def of(cls, samples: int, pixels: int) -> _Taps:
        """As torch.nn.functional.interpolate with align_corners=False has them, in float32."""
        scale = np.float32(samples) / np.float32(pixels)
        at = scale * (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
        at = np.maximum(at, 0)
        low = np.minimum(at.astype(np.intp), samples - 1)
        after = at - low.astype(np.float32)
        return cls(low, np.minimum(low + 1, samples - 1), 1 - after, after)

    def reached(self, first: int, last: int) -> slice:
        """The pixels that the samples from first to last, both among them, have a part in."""
        start = np.searchsorted(self.high, first)
        return slice(int(start), int(np.searchsorted(self.low, last, side="right")))


NOTHING = Crop(np.zeros((0, 0), bool), (0, 0), True)


def crops(logits_kss: Tensor, rows: Sequence[int], size_hw: tuple[int, int]) -> Iterator[Crop]:
    """The masks of some rows of logits (k, s, s), one at a time; an empty one is NOTHING.

    What a device holds comes to main memory once for all of them, at the low resolution.
    """
    some = logits_kss[rows[0] : rows[-1] + 1].float().cpu().numpy()
    height, width = some.shape[1:]
    down, across = _Taps.of(height, size_hw[0]), _Taps.of(width, size_hw[1])
    above = some > 0
    for logits, filled, on_rows, on_columns in zip(
        some, above, np.asarray(above.any(2)), np.asarray(above.any(1)), strict=True
    ):
        ys, xs = np.flatnonzero(on_rows), np.flatnonzero(on_columns)
        if not len(ys):
            yield NOTHING
            continue
        first, last = (int(ys[0]), int(xs[0])), (int(ys[-1]), int(xs[-1]))
        own = filled[first[0] : last[0] + 1, first[1] : last[1] + 1]
        yield _crop(logits, own, first, last, down, across)


def is_simple(mask: npt.NDArray[np.bool_]) -> bool:
    """Whether a mask (h, w) is one part without holes, by 4 neighbours each.

    Of logits that are enlarged that holds for the mask as well: between samples bilinear
    interpolation has neither hills nor hollows.
    """
    framed = np.pad(mask, 1).view(np.uint8)
    parts, _ = cv2.connectedComponents(framed, connectivity=4)
    if parts > 2:
        return False
    regions, _ = cv2.connectedComponents(1 - framed, connectivity=4)
    return bool(regions <= 2)


def _crop(
    logits: Floats,
    own: npt.NDArray[np.bool_],
    first: tuple[int, int],
    last: tuple[int, int],
    down: _Taps,
    across: _Taps,
) -> Crop:
    """Of logits (a, b) that are above 0 from the row and column `first` to `last`, `own` there."""
    tall, wide = down.reached(first[0], last[0]), across.reached(first[1], last[1])
    if tall.stop <= tall.start or wide.stop <= wide.start:  # between the frame's pixels
        return NOTHING
    top, bottom = down.low[tall.start], down.high[tall.stop - 1] + 1
    part = logits[top:bottom]
    level = part[:, across.low[wide]] * across.before[wide]
    level += part[:, across.high[wide]] * across.after[wide]
    # In place: fresh memory costs more than the arithmetic.
    grown, other = level[down.low[tall] - top], level[down.high[tall] - top]
    grown *= down.before[tall, None]
    other *= down.after[tall, None]
    grown += other
    enlarged = logits.shape[0] <= len(down.low) and logits.shape[1] <= len(across.low)
    return Crop(grown > 0, (wide.start, tall.start), enlarged and is_simple(own))


def upsample_masks(logits_kss: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Low-resolution logits (k, s, s) to whole bool masks (k, h, w) at frame size."""
    grown = functional.interpolate(logits_kss[:, None], size_hw, mode="bilinear")
    return grown[:, 0] > 0
