"""Values of more than 8 bits, and fractions, as 8 bits: by what the values say, or as asked.

A file tells how its values are stored, not what they mean: a sensor of 12 bits writes into 16, a
thermal camera writes hundredths of a kelvin, a microscope ends at 235. By `auto` the scale is

- 0 to the top of the fewest bits, 8 to 16, that hold the values (of fractions also 0..1), as long
  as the values spread over half of it: brightness stays what it was when the picture was taken;
- else from the lowest value to the highest.

The outermost thousandth at each end does not count (dead pixels), nor does a value that stands far
apart from all others (a mark for what was not measured), nor do NaN and infinity. The same picture
has the same scale always; the frames of a video share one.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from annotate.data.types import Depth, Image

log = logging.getLogger(__name__)

_SAMPLED: Final = 1 << 18  # values of a picture that are looked at, on a grid
_OUTERMOST: Final = 0.001  # of the values at each end
_VARIED: Final = 64  # different values from which one far apart is a mark, and no second tone
_BLACK: Final = 8  # of 255; a picture that ends below shows nothing


@dataclass(frozen=True, slots=True)
class Scale:
    """Values `low`..`high` become 0..255, what lies outside is cut off, and what is NaN is 0."""

    low: float
    high: float
    kind: str  # for people: what it was taken from
    floor: bool = False  # else the nearest level is taken

    def apply(self, values: npt.NDArray[Any]) -> Image:
        """Values of any shape as uint8."""
        if values.dtype.kind == "u" and values.dtype.itemsize == 2 and values.size > 1 << 16:
            return np.take(self.apply(np.arange(1 << 16, dtype=np.float64)), values)
        with np.errstate(invalid="ignore", over="ignore"):
            levels = (values.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        levels = np.nan_to_num(levels, nan=0, posinf=255, neginf=0).clip(0, 255)
        return (np.floor(levels) if self.floor else np.rint(levels)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the values of one or more pictures are like."""

    values: npt.NDArray[np.float64]  # (n,), on a regular grid, finite
    lowest: float  # of all values; inf where none is finite
    highest: float
    fractions: bool  # the file holds floating point

    @classmethod
    def of(cls, strips: Iterable[npt.NDArray[Any]], size_wh: tuple[int, int]) -> Sample:
        """Look at a picture, given as strips (rows, w[, channels]) from the top."""
        step = max(1, math.ceil(math.sqrt(size_wh[0] * size_wh[1] / _SAMPLED)))
        taken, row, lowest, highest, fractions = [], 0, math.inf, -math.inf, False
        for strip in strips:
            grid = strip[-row % step :: step, ::step].astype(np.float64).ravel()
            taken.append(grid[np.isfinite(grid)])
            row += len(strip)
            fractions = fractions or strip.dtype.kind == "f"
            finite = strip[np.isfinite(strip)] if strip.dtype.kind == "f" else strip
            if finite.size:
                lowest = min(lowest, float(finite.min()))
                highest = max(highest, float(finite.max()))
        return cls(np.concatenate(taken), lowest, highest, fractions)


def asked_scale(depth: Depth, *, fractions: bool) -> Scale | None:
    """The scale that a setting names by itself; None where the values decide.

    Fractions have no high byte: their values decide.
    """
    if depth == "high_byte" and not fractions:
        return Scale(0, 255 * 256, "by their high byte", floor=True)
    if isinstance(depth, str):
        return None
    return Scale(depth[0], depth[1], f"from [{depth[0]:g}, {depth[1]:g}]")


def scale_of(samples: Sequence[Sample], depth: Depth) -> Scale:
    """One scale for one or more pictures, by `depth`."""
    fractions = all(sample.fractions for sample in samples)
    if asked := asked_scale(depth, fractions=fractions):
        return asked
    lowest = min(sample.lowest for sample in samples)
    highest = max(sample.highest for sample in samples)
    if not lowest < highest:
        return _flat(lowest, fractions)
    if depth == "minmax":
        return Scale(lowest, highest, "from lowest to highest")
    values = _measured(np.sort(np.concatenate([sample.values for sample in samples])))
    outer = int(_OUTERMOST * (len(values) - 1)) if len(values) else 0
    if not len(values) or values[outer] == values[-1 - outer]:  # small things on a flat ground
        low, high = (values[0], values[-1]) if len(values) else (lowest, highest)
        low, high = (low, high) if low < high else (lowest, highest)
    else:
        low, high = values[outer], values[-1 - outer]
    bits, top = _top(float(high), fractions)
    if low >= 0 and high - low >= top / 2:
        return Scale(0, top, f"as {bits}")
    return Scale(float(low), float(high), "from a range of their own")


def _flat(value: float, fractions: bool) -> Scale:
    """The scale of a picture that has one value, or none."""
    kind = "that are all the same"
    if not math.isfinite(value):
        return Scale(0, 1, kind)
    _, top = _top(value, fractions)
    return Scale(0, top, kind) if 0 <= value <= top else Scale(value - 1, value + 1, kind)


def _top(high: float, fractions: bool) -> tuple[str, float]:
    """The end of the smallest usual range that holds a value, and its name; else infinity."""
    if fractions and high <= 1:
        return "fractions of 1", 1.0
    for bits in range(8, 17):
        if high <= 2**bits - 1:
            return f"{bits} bits", float(2**bits - 1)
    return "more", math.inf


def _measured(ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sorted values less a mark at either end: one value, further from the rest than these span."""
    for end in (-1, 0, -1):
        others = ordered[ordered != ordered[end]] if len(ordered) else ordered
        if len(others) and len(np.unique(others)) >= _VARIED:
            gap = abs(ordered[end] - others[end])
            if gap > others[-1] - others[0]:
                ordered = others
    return ordered


class Told:
    """What was done to pictures of more than 8 bits: counted by kind, the first of each logged."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, name: str, scale: Scale, image: Image) -> None:
        """Note how a picture became 8 bits; `image` is what it has become."""
        black = image.max(initial=0) < _BLACK
        kind = f"{scale.kind}, and black" if black else scale.kind
        with self._lock:
            first = not self.counts[kind]
            self.counts[kind] += 1
        if first:
            log.log(
                logging.WARNING if black else logging.INFO,
                "%s: values of more than 8 bits, scaled %s (%g to %g become 0 to 255); "
                "decode.depth= sets another scale",
                name, scale.kind, scale.low, scale.high,
            )  # fmt: skip
