"""Getting pictures into an export: linked or copied, or written anew where trainers would misread.

A file is linked or copied as it is when every trainer reads the picture its labels describe: an
upright 8-bit RGB or grey JPEG, PNG, BMP, TIFF or WebP. Any other (an EXIF rotation, 16 bit, alpha,
a palette, CMYK, GIF, JPEG 2000, ...) is decoded as `annotate` decoded it and written again: JPEG at
quality 95 without chroma subsampling where the name says JPEG, without loss otherwise.

A JPEG that does not end with its end marker is copied, never linked: Ultralytics "restores" such
files when it scans a dataset, older releases by writing through the link into the original.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Literal

from PIL import Image as PilImage

from annotate.errors import MediaError
from annotate.media import needs_rewriting, read_image
from annotate.types import Image

Staging = Literal["link", "copy", "none"]

READABLE_FORMATS = frozenset({"JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP"})
JPEG_END = b"\xff\xd9"
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"format": "TIFF", "compression": "tiff_lzw"}
ENCODINGS: dict[str, dict[str, Any]] = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": {"format": "PNG", "compress_level": 1},
    ".bmp": {"format": "BMP"},
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": {"format": "WEBP", "lossless": True},
}
OTHER_SUFFIXES = {".jfif": ".jpg", ".jpe": ".jpg"}  # of what is JPEG too; everything else: .png


def staged_suffix(suffix: str) -> str:
    """The suffix a file is staged under: its own where trainers know it."""
    lower = suffix.lower()
    return suffix if lower in ENCODINGS else OTHER_SUFFIXES.get(lower, ".png")


def stage_still(source: Path, target: Path, *, size_wh: tuple[int, int], how: Staging) -> str:
    """Put a picture at `target`; returns "" or the reason why it cannot be there.

    A file that no longer has the size its labels were made for is another picture.
    """
    if how == "none":
        return ""
    try:
        found_wh, complete, rewritten = _look(source)
    except (OSError, MediaError):
        return "unreadable" if source.exists() else "missing"
    if found_wh != size_wh:
        return "changed"
    target.parent.mkdir(parents=True, exist_ok=True)
    if rewritten is not None:
        PilImage.fromarray(rewritten).save(target, **ENCODINGS[target.suffix.lower()])
    elif how == "copy" or not complete or not _linked(source, target):
        shutil.copyfile(source, target)
    return ""


def _look(source: Path) -> tuple[tuple[int, int], bool, Image | None]:
    """Upright size, whether the file ends as it should, and the pixels if it must be rewritten."""
    rewrite = needs_rewriting(source)
    with PilImage.open(source) as picture:
        found, size_wh = picture.format, picture.size
    if rewrite or found not in READABLE_FORMATS:
        image = read_image(source)
        return (image.shape[1], image.shape[0]), True, image
    return size_wh, found not in ("JPEG", "MPO") or _ends_with(source, JPEG_END), None


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-len(end), os.SEEK_END)
        return file.read() == end


def _linked(source: Path, target: Path) -> bool:
    """Whether a link could be made; some file systems and Windows accounts have none."""
    try:
        target.symlink_to(source.absolute())
    except (OSError, NotImplementedError):
        return False
    return True
