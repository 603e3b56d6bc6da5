"""Safe decoding: whatever the file's mode or orientation, upright RGB or a MediaError.

A picture is made upright and 8 bits a few rows at a time, so that beside what its decoder holds
there is the result alone.
"""

from __future__ import annotations

import importlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from annotate.data.types import Depth, Image
from annotate.decode.depth import Sample, Scale, asked_scale, scale_of
from annotate.decode.limits import check_cost, check_size
from annotate.discover.files import heif_plugin
from annotate.errors import MediaError

# What is decoded, whatever the suffix says: Pillow knows more, and runs programs for some of it.
FORMATS: tuple[str, ...] = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF")
FORMATS += ("WEBP",)
if heif := heif_plugin():
    importlib.import_module(heif).register_heif_opener()
    FORMATS += ("HEIF",)

# OpenCV would speak of odd tags; that it cannot read a picture is an error of ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_STRIP: Final = 1 << 20  # pixels that are converted at a time
_ORIENTATION: Final = 0x0112
_WIDTH, _LENGTH = 256, 257  # TIFF tags

# From the upright picture, EXIF orientation by orientation, a view of it as it is stored.
_AS_STORED: dict[int, Callable[[Any], Any]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@dataclass(frozen=True, slots=True)
class _Stored:
    """A decoded picture before it is upright and 8 bits."""

    size_wh: tuple[int, int]
    rows: Callable[[int, int], npt.NDArray[Any]]  # from, to: RGB uint8, or deep values (n, w[, 3])
    deep: bool
    orientation: int = 1  # of EXIF

    def strips(self) -> Iterator[tuple[int, int]]:
        width, height = self.size_wh
        step = max(1, _STRIP // max(1, width))
        return ((at, min(at + step, height)) for at in range(0, height, step))

    def sample(self) -> Sample:
        return Sample.of((self.rows(*at) for at in self.strips()), self.size_wh)


def read_image(
    path: Path,
    *,
    max_pixels: int | None = None,
    depth: Depth | Scale = "auto",
    tell: Callable[[Scale, Image], None] = lambda scale, image: None,
) -> Image:
    """Decode a still (its first picture, if it has several) upright, as RGB uint8 (h, w, 3).

    Alpha is dropped, not blended: trainers see the same colours. Values of more than 8 bits are
    scaled by `depth`, and `tell` is told how. Raises MediaError with the reason when the file
    cannot be read, and when the picture has more than `max_pixels` pixels or would take the memory
    or time of as many, which is checked before any of them is decoded.
    """
    with _reasons(path, max_pixels):
        stored = _decoded(path, max_pixels)
        assert stored is not None
        return _upright(stored, depth, tell)


def sample_image(path: Path, *, max_pixels: int | None = None) -> Sample | None:
    """What the values of a still are like; None where it has 8 bits. Raises MediaError."""
    with _reasons(path, max_pixels):
        stored = _decoded(path, max_pixels, only_deep=True)
        return stored.sample() if stored is not None else None


def needs_rewriting(path: Path) -> bool:
    """Whether the stored pixels differ from the upright RGB picture that labels describe.

    Readers disagree on EXIF orientation, 16 bit and CMYK, so such a file must not be handed to a
    trainer as it is. Only the header is read. Raises MediaError when there is none.
    """
    try:
        with PilImage.open(path, formats=FORMATS) as picture:
            if is_deep(picture) or picture.mode not in ("RGB", "L"):
                return True
            return picture.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            if _is_tiff(file.read(4)):  # of a kind that is decoded here and by few others
                return True
        raise MediaError(f"cannot read the header of {path.name}") from None
    except Exception as error:
        raise MediaError(f"cannot read the header of {path.name}") from error


@contextmanager
def _reasons(path: Path, max_pixels: int | None) -> Iterator[None]:
    """Whatever the system and decoders say becomes a MediaError."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and not _enters(path):
            raise MediaError("permission denied: the folder cannot be listed")
        if not stat.S_ISREG(mode):
            raise MediaError("not a regular file")
        _allow(max_pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to speak: pixels decide
            yield
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
    except UnidentifiedImageError as error:
        raise MediaError("cannot decode: no picture of a format that is read here") from error
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


def _allow(max_pixels: int | None) -> None:
    """Raise Pillow's own limit, which is the process's, where the caller's is higher."""
    limit = PilImage.MAX_IMAGE_PIXELS
    if max_pixels is not None and limit is not None and max_pixels > 2 * limit:
        PilImage.MAX_IMAGE_PIXELS = max_pixels


def _upright(stored: _Stored, depth: Depth | Scale, tell: Callable[[Scale, Image], None]) -> Image:
    """The picture as it is meant to be seen, put into its place a few rows at a time."""
    width, height = stored.size_wh
    turned = stored.orientation >= 5
    upright = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    view = _AS_STORED.get(stored.orientation, lambda a: a)(upright)
    scale = _scale(stored, depth) if stored.deep else None
    for begin, end in stored.strips():
        values = stored.rows(begin, end)
        if scale is not None:
            values = scale.apply(values)
        view[begin:end] = values if values.ndim == 3 else values[:, :, None]
    if scale is not None:
        tell(scale, upright)
    return upright


def _scale(stored: _Stored, depth: Depth | Scale) -> Scale:
    if isinstance(depth, Scale):
        return depth
    fractions = stored.rows(0, 1).dtype.kind == "f"
    return asked_scale(depth, fractions=fractions) or scale_of([stored.sample()], depth)


def _decoded(path: Path, max_pixels: int | None, *, only_deep: bool = False) -> _Stored | None:
    """What a file holds. With `only_deep`, None where its header says that it has 8 bits."""
    try:
        picture = PilImage.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        if (stored := _float_tiff(path, max_pixels)) is None:
            raise
        return stored
    with picture:
        check_cost(picture, path, max_pixels)
        size_wh, is_deep_colour = picture.size, _is_deep_colour(picture)
        deep = is_deep(picture)
        if only_deep and not deep:
            return None
        if not is_deep_colour:
            picture.load()
        orientation = picture.getexif().get(_ORIENTATION, 1)
        orientation = orientation if orientation in _AS_STORED else 1
    if is_deep_colour:
        del picture
        return _by_opencv(path, size_wh, orientation)
    if picture.size != size_wh:
        raise MediaError("the picture is not of the size that it says")

    def rows(begin: int, end: int) -> npt.NDArray[Any]:
        strip = picture.crop((0, begin, size_wh[0], end))
        if deep:
            return np.asarray(strip)
        if strip.mode == "P" and "transparency" in picture.info:
            strip = strip.convert("RGBA")
        return np.asarray(strip.convert("RGB"))

    return _Stored(size_wh, rows, deep, orientation)


def is_deep(picture: PilImage.Image) -> bool:
    """Whether an opened picture has values of more than 8 bits, or fractions."""
    grey = picture.mode.startswith("I;16") or picture.mode in ("I", "F")
    return grey or _is_deep_colour(picture)


def _is_deep_colour(picture: PilImage.Image) -> bool:
    """Whether colours, or grey with alpha, have more than 8 bits, which Pillow would cut."""
    tiles = getattr(picture, "tile", ())
    if picture.mode not in ("RGB", "RGBA", "RGBX", "LA") or not tiles:
        return False
    arguments = tiles[0].args
    first, *more = arguments if isinstance(arguments, tuple) else (arguments,)
    if picture.format == "PPM":
        return bool(more) and more[0] > 255
    return picture.format in ("PNG", "TIFF") and ";16" in str(first)


def _by_opencv(path: Path, size_wh: tuple[int, int], orientation: int = 1) -> _Stored:
    """A picture of deep colours, or of fractions, which Pillow has no mode for."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape[1::-1] != size_wh:
        raise MediaError("cannot decode: the picture is damaged or cut off")
    if values.ndim == 3:
        values = values[:, :, 2::-1] if values.shape[2] >= 3 else values[:, :, 0]
    return _Stored(size_wh, lambda begin, end: values[begin:end], True, orientation)


def _float_tiff(path: Path, max_pixels: int | None) -> _Stored | None:
    """A TIFF of a kind that Pillow does not know: colours as fractions, or 64 bits."""
    with path.open("rb") as file:
        head = file.read(8)
        if not _is_tiff(head):
            return None
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
    size_wh = int(tags[_WIDTH]), int(tags[_LENGTH])
    check_size(size_wh, max_pixels)
    return _by_opencv(path, size_wh, int(tags.get(_ORIENTATION, 1)))


def _is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*")
