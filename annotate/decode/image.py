"""Safe decoding: whatever the file's mode or orientation, upright RGB or a MediaError."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageOps

from annotate.data.types import Image
from annotate.errors import MediaError

# What is decoded, whatever the suffix says: Pillow knows more, and runs programs for some of it.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def read_image(path: Path, *, max_pixels: int | None = None) -> Image:
    """Decode a still (its first picture, if it has several) upright, as RGB uint8 (h, w, 3).

    Alpha is dropped, not blended: trainers see the same colours. 16-bit values keep their high
    byte. Raises MediaError with the reason when the file cannot be read, and when the picture has
    more than `max_pixels` pixels, which is checked before any of them is decoded.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and not _enters(path):
            raise MediaError("permission denied: the folder cannot be listed")
        if not stat.S_ISREG(mode):
            raise MediaError("not a regular file")
        _allow(max_pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to speak: pixels decide
            with PilImage.open(path, formats=FORMATS) as picture:
                width, height = picture.size
                if max_pixels is not None and width * height > max_pixels:
                    raise MediaError(
                        f"{width}x{height} is more than dataset.max_pixels={max_pixels} pixels"
                    )
                return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))
    except MediaError:
        raise
    except PilImage.DecompressionBombError as error:
        raise MediaError(f"more pixels than dataset.max_pixels={max_pixels}") from error
    except FileNotFoundError as error:
        raise MediaError("file not found") from error
    except PermissionError as error:
        raise MediaError("permission denied") from error
    except MemoryError as error:
        raise MediaError("picture does not fit in memory") from error
    except Exception as error:
        # Decoders raise what they like (SyntaxError, struct.error, zlib.error, ...) on damaged
        # files; all of it means the same to the run.
        reason = " ".join(str(error).replace(str(path), "file").split()) or type(error).__name__
        raise MediaError(f"cannot decode: {reason[:200]}") from error


def _enters(folder: Path) -> bool:
    """Whether this process may list a folder and open what is in it."""
    return os.access(
        folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )


def needs_rewriting(path: Path) -> bool:
    """Whether the stored pixels differ from the upright RGB picture that labels describe.

    Readers disagree on EXIF orientation, 16 bit and CMYK, so such a file must not be handed to a
    trainer as it is. Only the header is read. Raises MediaError when there is none.
    """
    try:
        with PilImage.open(path, formats=FORMATS) as picture:
            upright = picture.getexif().get(0x0112, 1) in (0, 1)
            return not upright or picture.mode not in ("RGB", "L")
    except Exception as error:
        raise MediaError(f"cannot read the header of {path.name}") from error


def _allow(max_pixels: int | None) -> None:
    """Raise Pillow's own limit, which is the process's, where the caller's is higher."""
    limit = PilImage.MAX_IMAGE_PIXELS
    if max_pixels is not None and limit is not None and max_pixels > 2 * limit:
        PilImage.MAX_IMAGE_PIXELS = max_pixels


def _to_rgb(picture: PilImage.Image) -> PilImage.Image:
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return PilImage.fromarray(_to_8_bit(np.asarray(picture))).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _to_8_bit(values: npt.NDArray[Any]) -> Image:
    """Deep grey values to uint8: 16-bit counts by their high byte, fractions (0..1) by 255."""
    top = float(values.max(initial=0))
    if values.dtype.kind == "f" and top <= 1:
        scaled = values * 255
    elif top > 255 or values.dtype.itemsize == 2:
        scaled = values / 257
    else:
        scaled = values
    return np.asarray(np.nan_to_num(scaled).clip(0, 255), np.uint8)
