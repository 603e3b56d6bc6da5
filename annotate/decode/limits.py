"""What a picture would cost that its size does not tell, looked up before it is decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image as PilImage

from annotate.errors import MediaError

MOST_SCANS: Final = 100  # of a JPEG; each goes over the whole picture, and encoders write about 10
# Of a tile OpenJPEG holds 19 bytes a pixel, where others hold 4 of the picture.
JPEG2000_WEIGHT: Final = 3
_HEAD: Final = 1 << 16  # bytes in which JPEG 2000 says its sizes
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags
_CHUNK: Final = 1 << 16  # bytes
# Markers of JPEG: ff and a byte; in packed values, ff00 is a stuffed ff and d0..d7 are restarts.
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SCAN, _END, _BARE = 0xDA, 0xD9, (0x01, 0xD8)
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_cost(picture: PilImage.Image, path: Path, max_pixels: int | None) -> None:
    """MediaError where a picture is too large, or would take far more than its pixels."""
    check_size(picture.size, max_pixels)
    if picture.format in ("JPEG", "MPO"):
        _check_scans(path)
    elif picture.format == "JPEG2000":
        check_size(_jpeg2000_tile(path, picture.size), max_pixels, JPEG2000_WEIGHT, "a tile of ")
    elif picture.format == "TIFF":
        tags = getattr(picture, "tag_v2", {})
        if _TILE_WIDTH in tags and _TILE_LENGTH in tags:
            check_size((tags[_TILE_WIDTH], tags[_TILE_LENGTH]), max_pixels, said="a tile of ")


def check_size(
    size_wh: tuple[int, int], max_pixels: int | None, weight: int = 1, said: str = ""
) -> None:
    """MediaError for more than `max_pixels` px, each of which counts `weight` times."""
    width, height = size_wh
    if max_pixels is not None and width * height * weight > max_pixels:
        each = f" / {weight}, as this format takes {weight} times the memory" if weight > 1 else ""
        raise MediaError(
            f"{said}{width}x{height} is more than dataset.max_pixels={max_pixels}{each} pixels"
        )


def _check_scans(path: Path) -> None:
    """MediaError where a JPEG goes over its picture more than `MOST_SCANS` times."""
    scans, at, components, progressive = 0, 2, 0, False
    with path.open("rb") as file:
        while found := _marker_from(file, at):
            marker, at = found
            if marker == _END:  # a second picture of the file may follow
                return
            if marker in _BARE:
                continue
            file.seek(at)
            length, of_frame = file.read(2), file.read(6)
            if marker == _SCAN:
                scans += 1
                if not progressive and of_frame[:1] == bytes([components]):  # all in one
                    return
                if scans > MOST_SCANS:
                    raise MediaError(f"a JPEG of more than {MOST_SCANS} scans")
            elif marker in _FRAMES:
                progressive, components = marker & 3 == 2, of_frame[5] if len(of_frame) > 5 else 0
            at += int.from_bytes(length, "big")


def _marker_from(file: BinaryIO, at: int) -> tuple[int, int] | None:
    """The next marker of a JPEG from a place on, and where what belongs to it begins."""
    file.seek(at)
    while chunk := file.read(_CHUNK):
        if found := _MARKER.search(chunk):
            return chunk[found.start() + 1], at + found.end()
        at += len(chunk)
        if chunk.endswith(b"\xff") and len(chunk) > 1:  # the other half of a marker may follow
            at -= 1
            file.seek(at)
    return None


def _jpeg2000_tile(path: Path, size_wh: tuple[int, int]) -> tuple[int, int]:
    """The size of what is decoded at a time, in px; the picture's own where it is not said."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    begin = head.find(b"\xff\x4f\xff\x51")  # start of codestream, and the sizes after it
    if begin < 0 or len(head) < begin + 32:
        return size_wh
    tile = [int.from_bytes(head[begin + at : begin + at + 4], "big") for at in (24, 28)]
    return min(tile[0], size_wh[0]), min(tile[1], size_wh[1])
