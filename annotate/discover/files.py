"""Which files are pictures, which are videos, and which of a folder are its frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TypeVar

P = TypeVar("P", bound=PurePath)

IMAGE_SUFFIXES = frozenset(
    [".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"]
) | frozenset([".pnm", ".ppm", ".tif", ".tiff", ".webp"])


VIDEO_SUFFIXES = frozenset([".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"])


def numbered_images(folder: Path) -> tuple[Path, ...]:
    """The images in a folder whose names hold a number, in the order people count: 2 before 10.

    Others (a `cover.jpg`) are no frames, and neither are hidden files.
    """
    return in_order(filter(is_numbered, folder.iterdir()))


def in_order(frames: Iterable[P]) -> tuple[P, ...]:
    """Frames of one folder as people count."""
    return tuple(sorted(frames, key=_natural))


def is_numbered(path: PurePath) -> bool:
    """Whether a file is a frame of the folder it lies in, by its name."""
    return (
        path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and re.search("[0-9]", path.stem) is not None
    )


def _natural(path: PurePath) -> tuple[list[str | int], str]:
    """Words and numbers of a name in turn, the first a word; the name itself tells 1 from 01."""
    parts = re.split("([0-9]+)", path.stem)
    return [int(p) if n % 2 else p for n, p in enumerate(parts)], path.name
