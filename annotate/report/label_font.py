"""A font that has the characters of the labels: OpenCV's own knows ASCII alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont, TTLibError

log = logging.getLogger(__name__)


def font_for(texts: list[str]) -> Path | None:
    """A font file for these texts; None where they are ASCII, for which OpenCV's is faster.

    DejaVu Sans, which comes with matplotlib, has the alphabets of Europe and the Near East; where
    that is not enough, it is the first font of this machine that has all characters. If none has, a
    warning tells which are missing: they are drawn as boxes.
    """
    if all(text.isascii() for text in texts):
        return None
    needed = {ord(character) for text in [*texts, "#.0123456789"] for character in text} - {32}
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for path in (own, *_fonts_here()):
        if needed <= _characters(path):
            return path
    missing = "".join(map(chr, sorted(needed - _characters(own))))
    log.warning("labels: no font on this machine has all of %s; they are drawn as boxes", missing)
    return own


def _fonts_here() -> Iterator[Path]:
    """The fonts of this machine, sorted so that the same one is taken every time."""
    from matplotlib import font_manager  # reads all fonts: only where one is looked for

    return map(Path, sorted(font_manager.findSystemFonts()))


def _characters(path: Path) -> set[int]:
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return set(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return set()
