"""Colours of classes and tracks, and the colour of text that is read on them."""

from __future__ import annotations

import colorsys

from annotate.data.types import ClassList

BLACK, WHITE = "#000000", "#ffffff"
DARKEST = 0.25  # luminance of our own colours, 0..1: pure blue is lost on a dark picture


def class_colours(classes: ClassList) -> list[str]:
    """`#rrggbb` per class: the user's, else hues spread by the golden ratio."""
    return [spec.colour or spread_hue(index) for index, spec in enumerate(classes.classes)]


def spread_hue(index: int) -> str:
    """One of endless colours, unlike those of the numbers beside it, and seen on dark pictures."""
    hue, saturation = (0.08 + index * 0.618034) % 1, 0.6 + 0.25 * (index % 2)
    paler = (saturation * (1 - step / 16) for step in range(17))
    shades = (_hex(colorsys.hsv_to_rgb(hue, s, 1.0)) for s in paler)
    return next(shade for shade in shades if _luminance(shade) >= DARKEST)


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(v * 255):02x}" for v in rgb)


def text_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour: a contrast of 4.58 or more."""
    return max(BLACK, WHITE, key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it, 1..21; from 4.5 on, text is read well."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
