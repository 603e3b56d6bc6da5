"""Pictures whose pixels are numbers of objects, in the colours that VOC and DAVIS give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

COLOURS = 256


def _voc_colours() -> npt.NDArray[np.uint8]:
    """VOC's colour map (256, 3): bits of a number are spread over the channels, highest first."""
    numbers = np.arange(COLOURS)
    colours = np.zeros((COLOURS, 3), int)
    for step in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> channel & 1) << (7 - step)
        numbers >>= 3
    return colours.astype(np.uint8)


PALETTE = _voc_colours()


def write_indexed(path: Path, values_hw: npt.NDArray[np.int32]) -> None:
    """Write numbers 0..255 as a PNG with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PilImage.fromarray(values_hw.astype(np.uint8), mode="P")
    picture.putpalette(PALETTE.ravel().tolist())
    picture.save(path, compress_level=1)
