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
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a mask that may be filled."""

    mask: npt.NDArray[np.bool_]  # (h, w)
    corner_xy: tuple[int, int]  # pixel of the frame at which it begins
    is_clean: bool  # surely one part without holes


@dataclass(frozen=True, slots=True)
class _Taps:
    """Along one axis, the two samples that each pixel lies between, and their weights."""

    low: Tensor  # (n,) index of the sample before, rising
    high: Tensor  # (n,) of the one after
    before: Tensor  # (n,) weight of the sample before
    after: Tensor  # (n,)

    @classmethod
    def of(cls, samples: int, pixels: int) -> _Taps:
        """As torch.nn.functional.interpolate with align_corners=False has them, in float32."""
        scale = torch.tensor(samples, dtype=torch.float32) / pixels
        at = (scale * (torch.arange(pixels, dtype=torch.float32) + 0.5) - 0.5).clamp(min=0)
        low = at.floor().long().clamp(max=samples - 1)
        after = at - low
        return cls(low, (low + 1).clamp(max=samples - 1), 1 - after, after)

    def reached(self, first: int, last: int) -> slice:
        """The pixels that the samples from first to last, both among them, have a part in."""
        start = np.searchsorted(self.high.numpy(), first)
        stop = np.searchsorted(self.low.numpy(), last, side="right")
        return slice(int(start), int(stop))

    def part(self, pixels: slice, first: int) -> _Taps:
        """Of some pixels, with samples counted from `first` on."""
        return _Taps(
            self.low[pixels] - first, self.high[pixels] - first,
            self.before[pixels], self.after[pixels],
        )  # fmt: skip


NOTHING = Crop(np.zeros((0, 0), bool), (0, 0), True)


def crops(logits_kss: Tensor, rows: Sequence[int], size_hw: tuple[int, int]) -> Iterator[Crop]:
    """The masks of some rows of logits (k, s, s), one at a time; an empty one is NOTHING.

    What a device holds comes to main memory once for all of them, at the low resolution.
    """
    some = logits_kss[rows[0] : rows[-1] + 1].float().cpu()
    height, width = some.shape[1:]
    down, across = _Taps.of(height, size_hw[0]), _Taps.of(width, size_hw[1])
    above = some > 0
    in_rows, in_columns = above.any(2).numpy(), above.any(1).numpy()
    for logits, on_rows, on_columns in zip(some, in_rows, in_columns, strict=True):
        ys, xs = np.flatnonzero(on_rows), np.flatnonzero(on_columns)
        if not len(ys):
            yield NOTHING
            continue
        yield _crop(logits, (int(ys[0]), int(ys[-1])), (int(xs[0]), int(xs[-1])), down, across)


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
    logits: Tensor, ys: tuple[int, int], xs: tuple[int, int], down: _Taps, across: _Taps
) -> Crop:
    """Of logits (a, b) that are above 0 in rows and columns from the first to the last of these."""
    tall, wide = down.reached(*ys), across.reached(*xs)
    if tall.stop <= tall.start or wide.stop <= wide.start:  # between the frame's pixels
        return NOTHING
    top, left = int(down.low[tall.start]), int(across.low[wide.start])
    bottom, right = int(down.high[tall.stop - 1]) + 1, int(across.high[wide.stop - 1]) + 1
    part = logits[top:bottom, left:right]
    column, row = across.part(wide, left), down.part(tall, top)
    level = part[:, column.low] * column.before + part[:, column.high] * column.after
    # In place: fresh memory costs more than the arithmetic.
    grown, other = level[row.low].mul_(row.before[:, None]), level[row.high]
    grown.add_(other.mul_(row.after[:, None]))
    enlarged = logits.shape[0] <= len(down.low) and logits.shape[1] <= len(across.low)
    own = (logits[ys[0] : ys[1] + 1, xs[0] : xs[1] + 1] > 0).numpy()
    return Crop((grown > 0).numpy(), (wide.start, tall.start), enlarged and is_simple(own))


def upsample_masks(logits_kss: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Low-resolution logits (k, s, s) to whole bool masks (k, h, w) at frame size."""
    grown = functional.interpolate(logits_kss[:, None], size_hw, mode="bilinear")
    return grown[:, 0] > 0
