"""How many frames the index of an MP4 promises, read before FFmpeg makes an entry of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from annotate.errors import MediaError

# Boxes of ISO/IEC 14496-12 that hold others, as far as FFmpeg looks into them.
_HOLDERS: Final = frozenset(
    b"moov trak mdia minf stbl moof traf mvex edts dinf sinf schi tref udta wave".split()
)
_DEPTH: Final = 10


def check_index(path: Path) -> None:
    """MediaError where an MP4 or QuickTime file promises more frames than it has bytes.

    A size that all frames share takes 4 bytes for any number of them: of 2 kB FFmpeg made an index
    of gigabytes. Files of other kinds pass.
    """
    size = path.stat().st_size
    promised = 0
    with path.open("rb") as file:
        for count in _counts(file, 0, size, _DEPTH):
            promised += count
            if promised > size:
                raise MediaError(f"its index promises {promised:,} frames in {size:,} bytes")


def _counts(file: BinaryIO, at: int, end: int, depth: int) -> Iterator[int]:
    """The numbers of samples that boxes between two places tell."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(20)
        length, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), at + 16
        following = at + length if length else end
        if following < begin:  # no box: another format, or damage
            return
        if kind in (b"stsz", b"trun"):
            file.seek(begin + (8 if kind == b"stsz" else 4))
            yield int.from_bytes(file.read(4), "big")
        elif kind == b"cmov":
            raise MediaError("its index is compressed; copy the video with a tool of today")
        elif kind in _HOLDERS and depth:
            yield from _counts(file, begin, min(following, end), depth - 1)
        at = following
