"""A font that has the characters of the labels, and texts that are too long for their place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
from fontTools.ttLib import TTFont, TTLibError

log = logging.getLogger(__name__)

ELLIPSIS: Final = "..."  # which every font has
_ALWAYS: Final = "#<.0123456789"


def font_for(texts: Iterable[str]) -> Path:
    """A font file for these texts, digits and what labels add to them.

    DejaVu Sans, which comes with matplotlib, has the alphabets of Europe and the Near East; where
    that is not enough, it is the first font of this machine that has all characters. If none has, a
    warning tells which are missing: they are drawn as boxes.
    """
    needed = {ord(character) for text in [*texts, _ALWAYS] for character in text} - {32}
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for path in (own, *_fonts_here()):
        if needed <= _characters(path):
            return path
    missing = "".join(map(chr, sorted(needed - _characters(own))))
    log.warning("labels: no font on this machine has all of %s; they are drawn as boxes", missing)
    return own


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """A text, without so much of its middle that it fits; its end is kept, if anything is."""
    if fits(text):
        return text
    for left_out in range(1, len(text)):
        head = (len(text) - left_out) // 2
        short = f"{text[:head]}{ELLIPSIS}{text[head + left_out :]}"
        if fits(short):
            return short
    return ELLIPSIS


def _fonts_here() -> Iterator[Path]:
    """The fonts of this machine, sorted so that the same one is taken every time."""
    from matplotlib import font_manager  # reads all fonts: only where one is looked for

    return map(Path, sorted(font_manager.findSystemFonts()))


@cache
def _characters(path: Path) -> set[int]:
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return set(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return set()
