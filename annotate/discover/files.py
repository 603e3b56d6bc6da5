"""Which files are pictures, which are videos, and which of a folder are its frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from math import gcd
from pathlib import Path, PurePath
from typing import Final, TypeVar

P = TypeVar("P", bound=PurePath)

HEIF_SUFFIXES: Final = frozenset([".heic", ".heif", ".hif"])
HEIF_EXTRA: Final = "pip install 'annotate[heic]'"


@cache
def heif_plugin() -> str | None:
    """The module that reads the pictures of phones, where the extra `heic` is installed."""
    return next((name for name in ("pi_heif", "pillow_heif") if find_spec(name)), None)


IMAGE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo",
        ".jp2", ".j2c", ".j2k", ".jpc", ".jpf", ".jpx",
        ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".dib",
        ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm",
    }
    | (HEIF_SUFFIXES if heif_plugin() else frozenset())
)  # fmt: skip

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".insv",
        ".avi", ".divx", ".mkv", ".webm", ".ogv", ".flv", ".wmv", ".asf",
        ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".mts", ".m2t", ".m2ts",
        ".264", ".h264", ".265", ".h265", ".hevc",
    }
)  # fmt: skip

# TypeScript and Qt's translations have these names as well.
SHARED_SUFFIXES: Final = frozenset([".ts", ".mts"])
LOOKED_AT: Final = 1 << 16  # bytes, in which a transport stream begins
_SYNC: Final = [re.compile(rb"(?s:G.{%d}){4}G" % (n - 1)) for n in (188, 192, 204)]

_MANY: Final = 3  # images in a row, from which their folder looks like a video
_ALL_BUT: Final = 0.8  # of the images of a folder, and of the numbers between the first and last


def is_transport_stream(head: bytes) -> bool:
    """Whether a file that begins like this is MPEG-TS: packets of one size, each with a mark."""
    return any(sync.search(head[:LOOKED_AT]) for sync in _SYNC)


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


def look_like_frames(names: Iterable[str]) -> bool:
    """Whether the images of one folder are numbered in a row, but for a few: 0001, 0002, ..."""
    groups: dict[tuple[str, str], set[int]] = {}
    count = 0
    for name in names:
        count += 1
        if found := re.fullmatch("(.*?)([0-9]{1,18})([^0-9]*)", PurePath(name).stem):
            groups.setdefault((found[1], found[3]), set()).add(int(found[2]))
    numbers = max(groups.values(), key=len, default=set())
    if len(numbers) < max(_MANY, _ALL_BUT * count):
        return False
    first = min(numbers)
    step = gcd(*(n - first for n in numbers))
    return len(numbers) >= _ALL_BUT * ((max(numbers) - first) // step + 1)


def _natural(path: PurePath) -> tuple[list[str | int], str]:
    """Words and numbers of a name in turn, the first a word; the name itself tells 1 from 01."""
    parts = re.split("([0-9]+)", path.stem)
    return [int(p) if n % 2 else p for n, p in enumerate(parts)], path.name
