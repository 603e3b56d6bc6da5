"""What generated objects can be, and the words for it: colours, shapes, materials, sizes.

A phrase is `[size] [material] [colour] shape`, or ends in the word "object" where the shape is left
open: "red circle", "striped object", "small blue star", "triangle".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Combo = tuple[str, str]
"""(colour, shape)"""


def _regular(corners: int, inner: float = 1.0) -> FloatArray:
    """Outline with corners on the unit circle, the first on top, every second one at `inner`."""
    angle = np.arange(corners) * (2 * math.pi / corners)
    reach = np.where(np.arange(corners) % 2 == 0, 1.0, inner)
    return np.stack([np.sin(angle) * reach, -np.cos(angle) * reach], axis=1).astype(np.float32)


def _block(half_w: float, half_h: float) -> FloatArray:
    w, h = half_w, half_h
    return np.array([(-w, -h), (w, -h), (w, h), (-w, h)], np.float32)


def _plus(arm: float) -> FloatArray:
    a = arm
    corners = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
    return np.array(corners + [(-x, -y) for x, y in corners], np.float32)


def _heart() -> FloatArray:
    """The sextic curve (16 sin^3, 13 cos - 5 cos 2 - 2 cos 3 - cos 4), scaled to radius 1."""
    t = np.arange(64) * (2 * math.pi / 64)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    points = np.stack([x, y], axis=1)
    points -= (points.max(0) + points.min(0)) / 2
    points /= np.hypot(*points.T).max()
    return points.astype(np.float32, copy=False)


def _crescent() -> FloatArray:
    """The unit disc less a disc of radius 0.8 beside its centre."""
    radius, offset = 0.8, 0.5
    x = (1 - radius**2 + offset**2) / (2 * offset)  # where the two circles meet
    outer = np.linspace(math.acos(x), 2 * math.pi - math.acos(x), 48)
    meet = math.atan2(math.sqrt(1 - x * x), x - offset)
    inner = np.linspace(2 * math.pi - meet, meet, 40)[1:-1]
    rim = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([offset + radius * np.cos(inner), radius * np.sin(inner)], axis=1)
    return np.concatenate([rim, bite]).astype(np.float32)


def _arrow() -> FloatArray:
    half = [(0.0, -1.0), (0.75, -0.15), (0.27, -0.15), (0.27, 0.95)]
    return np.array(half + [(-x, y) for x, y in reversed(half[1:])], np.float32)


COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 38, 40),
    "green": (44, 160, 60),
    "blue": (36, 92, 214),
    "yellow": (240, 214, 40),
    "purple": (140, 60, 180),
    "orange": (250, 136, 20),
    "white": (245, 245, 245),
    "black": (20, 20, 22),
    "pink": (246, 140, 190),
    "brown": (124, 74, 36),
    "gray": (132, 132, 134),
    "cyan": (40, 204, 222),
}
"""Name -> RGB."""

SHAPES: Final[dict[str, tuple[FloatArray, ...]]] = {
    "circle": (_regular(64),),
    "square": (_block(0.8, 0.8),),
    "triangle": (_regular(3),),
    "star": (_regular(10, inner=0.42),),
    "cross": (_plus(0.3),),
    "ring": (_regular(64), _regular(64) * np.float32(0.56)),
    "diamond": (_regular(4) * np.array([0.56, 1.0], np.float32),),
    "heart": (_heart(),),
    "crescent": (_crescent(),),
    "arrow": (_arrow(),),
    "oval": (_regular(64) * np.array([1.0, 0.55], np.float32),),
    "rectangle": (_block(0.93, 0.38),),
}
"""Name -> contours at radius 1, filled by the even-odd rule: a contour inside another is a hole."""

HOLLOWABLE: Final = ("square", "triangle", "diamond", "heart", "rectangle", "star")
"""Shapes that may have a hole in the middle and keep their name."""

MATERIALS: Final = ("plain", "striped", "dotted")
SIZES: Final = ("small", "large")  # what lies between has no word
SMALL_BELOW, LARGE_ABOVE = 0.08, 0.2  # radius in shares of the picture's shorter side
ANYTHING: Final = "object"

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "purple": ("violet",),
    "gray": ("grey",),
    "cyan": ("turquoise",),
    "circle": ("disc", "disk"),
    "square": ("box",),
    "cross": ("plus",),
    "ring": ("donut", "hoop"),
    "diamond": ("rhombus",),
    "crescent": ("moon",),
    "oval": ("ellipse",),
    "rectangle": ("bar",),
    "dotted": ("spotted",),
    "small": ("little", "tiny"),
    "large": ("big", "huge"),
    "object": ("thing", "shape"),
}

HELD_OUT: Final[frozenset[Combo]] = frozenset(
    {
        ("red", "ring"),
        ("red", "oval"),
        ("green", "star"),
        ("green", "diamond"),
        ("blue", "cross"),
        ("blue", "heart"),
        ("yellow", "triangle"),
        ("yellow", "crescent"),
        ("purple", "circle"),
        ("purple", "arrow"),
        ("orange", "square"),
        ("orange", "rectangle"),
        ("white", "ring"),
        ("white", "heart"),
        ("black", "star"),
        ("black", "oval"),
        ("pink", "square"),
        ("pink", "diamond"),
        ("brown", "circle"),
        ("brown", "crescent"),
        ("gray", "triangle"),
        ("gray", "arrow"),
        ("cyan", "cross"),
        ("cyan", "rectangle"),
    }
)
"""Combinations the embedded models never see in training, to measure what they infer."""

ALL_COMBOS: Final[tuple[Combo, ...]] = tuple((c, s) for c in COLOURS for s in SHAPES)
TRAIN_COMBOS: Final[tuple[Combo, ...]] = tuple(c for c in ALL_COMBOS if c not in HELD_OUT)


def size_word(radius_px: float, unit_px: float) -> str:
    """The word for a size, "" where there is none; `unit_px` is the picture's shorter side."""
    share = radius_px / unit_px
    return "small" if share < SMALL_BELOW else "large" if share > LARGE_ABOVE else ""


def plural(phrase: str) -> str:
    """A phrase for several of a kind: "red crosses"."""
    ends_in_hiss = phrase.endswith(("s", "x", "sh", "ch"))
    return f"{phrase}es" if ends_in_hiss else f"{phrase}s"
