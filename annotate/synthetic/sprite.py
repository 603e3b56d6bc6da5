"""One drawn object: its outline on the pixel grid and its surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from annotate.synthetic.vocabulary import (
    COLOURS,
    HOLLOWABLE,
    LARGE_ABOVE,
    MATERIALS,
    SHAPES,
    SMALL_BELOW,
    Combo,
    FloatArray,
    size_word,
)

Window = tuple[slice, slice]  # rows, columns
BoolArray = NDArray[np.bool_]

LEAST_RADIUS_PX: Final = 4.0
# Ranges of a sprite's radius in shares of the shorter side, and how often it is drawn from each.
_RADII: Final = (((0.055, 0.2), 0.86), ((0.032, 0.055), 0.06), ((0.2, 0.6), 0.08))
_CROWDED: Final = 8  # objects; from here on they are small, or they would not fit
_CROWDED_RADII: Final = (0.04, 0.12)
# Words of size leave these bands out, so that no size is in doubt.
_UNNAMED: Final = ((SMALL_BELOW, 0.1), (0.165, LARGE_ABOVE))
_PATTERN_LEAST_PX: Final = 9.0  # below this radius no pattern can be told
_HOLE: Final = np.float32(0.5)
_SUPERSAMPLE: Final = 3
_SUBPIXEL_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class Fill:
    """Surface of an object; it turns and grows with the object."""

    rgb: tuple[float, float, float]
    material: str
    shade: float  # brightness change from centre to rim along `angle`, as a fraction
    angle: float  # radians
    texture: str  # too weak to be a material
    contrast: float  # of the texture, grey levels
    period: float  # of texture and material, radii
    ink: float  # how far stripes and dots go towards white (> 0) or black (< 0), -1..1
    rim: float  # the same of the outline
    rim_width: float  # radii; 0: no outline
    hollow: bool


@dataclass(frozen=True, slots=True)
class Sprite:
    colour: str
    shape: str
    fill: Fill
    radius_px: float
    angle: float  # radians
    centre_px: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Stencil:
    """Where a sprite falls: a window of the image, coverage 0..1 in it, and the pixels it owns."""

    window: Window
    coverage: FloatArray
    solid: BoolArray
    area: int


def random_sprite(rng: Generator, combo: Combo, unit_px: float, *, crowd: int = 1) -> Sprite:
    """A sprite of random size, turn and surface; its place is up to the caller.

    `crowd` is how many objects the picture is to hold.
    """
    radius_px = _random_radius(rng, unit_px, crowd)
    r, g, b = np.array(COLOURS[combo[0]]) + rng.normal(0, 7, 3)
    light = (r + g + b) / 3
    # Ink must leave the colour what most of the surface shows.
    ink = -rng.uniform(0.45, 0.75) if light > 105 else rng.uniform(0.45, 0.75)
    textures = ("even", "even", "stripes", "checks", "mottled")
    patterned = radius_px >= _PATTERN_LEAST_PX and rng.random() < 0.4
    fill = Fill(
        rgb=(float(r), float(g), float(b)),
        material=MATERIALS[1 + int(rng.integers(2))] if patterned else MATERIALS[0],
        shade=rng.uniform(0, 0.14),
        angle=rng.uniform(0, 2 * math.pi),
        texture=textures[int(rng.integers(len(textures)))],
        contrast=rng.uniform(3, 12),
        period=rng.uniform(0.42, 0.62) if patterned else rng.uniform(0.3, 0.9),
        ink=float(ink),
        rim=float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.8)),
        rim_width=rng.uniform(0.06, 0.14) if rng.random() < 0.2 else 0.0,
        hollow=bool(rng.random() < 0.12) and combo[1] in HOLLOWABLE,
    )
    return Sprite(*combo, fill, radius_px, rng.uniform(0, 2 * math.pi), (0.0, 0.0))


def _random_radius(rng: Generator, unit_px: float, crowd: int) -> float:
    odds = [share for _, share in _RADII]
    low, high = _RADII[int(rng.choice(len(_RADII), p=odds))][0]
    if crowd >= _CROWDED:
        low, high = _CROWDED_RADII
    while True:
        share = math.exp(rng.uniform(math.log(low), math.log(high)))
        if not any(lower < share < upper for lower, upper in _UNNAMED):
            return max(share * unit_px, LEAST_RADIUS_PX)


def named_size(sprite: Sprite, unit_px: float) -> str:
    """The word for how large a sprite is in its picture, "" where there is none."""
    return size_word(sprite.radius_px, unit_px)


def outline(shape: str, *, hollow: bool) -> tuple[FloatArray, ...]:
    """Contours at radius 1, filled by the even-odd rule."""
    contours = SHAPES[shape]
    return (*contours, contours[0] * _HOLE) if hollow else contours


def cut(sprite: Sprite, size_wh: tuple[int, int]) -> Stencil | None:
    """Rasterise the outline, or None where the frame does not show it."""
    contours = outline(sprite.shape, hollow=sprite.fill.hollow)
    return cut_outline(contours, sprite.centre_px, sprite.radius_px, sprite.angle, size_wh)


def cut_outline(
    contours: Sequence[FloatArray],
    centre_px: tuple[float, float],
    radius_px: float,
    angle: float,
    size_wh: tuple[int, int],
) -> Stencil | None:
    """Rasterise contours given at radius 1, or None where the frame does not show them."""
    (cx, cy), reach = centre_px, radius_px + 2
    x0, y0 = max(0, math.floor(cx - reach)), max(0, math.floor(cy - reach))
    x1, y1 = min(size_wh[0], math.ceil(cx + reach)), min(size_wh[1], math.ceil(cy + reach))
    if x0 >= x1 or y0 >= y1:
        return None
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([(cos, sin), (-sin, cos)]) * radius_px
    fine = np.zeros(((y1 - y0) * _SUPERSAMPLE, (x1 - x0) * _SUPERSAMPLE), np.uint8)
    # OpenCV puts whole numbers on pixel centres, this module half numbers.
    turned = [
        ((points @ turn + (cx - x0, cy - y0)) * _SUPERSAMPLE - 0.5) * (1 << _SUBPIXEL_BITS)
        for points in contours
    ]
    corners = [np.rint(c).astype(np.int32) for c in turned]
    cv2.fillPoly(fine, corners, 255, cv2.LINE_8, _SUBPIXEL_BITS)
    alpha = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    solid = alpha > 127
    area = int(np.count_nonzero(solid))
    if not area:
        return None
    coverage = alpha.astype(np.float32) * np.float32(1 / 255)
    return Stencil((slice(y0, y1), slice(x0, x1)), coverage, solid, area)


def surface(sprite: Sprite, stencil: Stencil) -> FloatArray:
    """RGB of a sprite's surface on its window, (h, w, 3)."""
    rows, columns = stencil.window
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - sprite.centre_px[0])[None]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - sprite.centre_px[1])[:, None]
    fill, angle = sprite.fill, sprite.fill.angle + sprite.angle
    cos, sin = math.cos(angle) / sprite.radius_px, math.sin(angle) / sprite.radius_px
    u, v = x * cos + y * sin, y * cos - x * sin
    rgb: FloatArray = (1 + u * np.float32(fill.shade))[..., None] * np.array(fill.rgb, np.float32)
    rate = 2 * math.pi / fill.period
    if fill.material == "striped":
        _blend(rgb, _lesser(np.sin(v * rate) > 0.25, stencil), fill.ink)
    elif fill.material == "dotted":
        _blend(rgb, _lesser(np.cos(u * rate) + np.cos(v * rate) > 0.55, stencil), fill.ink)
    elif fill.texture == "stripes":
        rgb += fill.contrast * np.sin(v * rate)[..., None]
    elif fill.texture == "checks":
        rgb += fill.contrast * np.sign(np.sin(u * rate) * np.sin(v * rate))[..., None]
    elif fill.texture == "mottled":
        bumps = np.sin(u * rate + 2 * np.sin(v * rate)) * np.sin((u + 1.4 * v) * rate)
        rgb += fill.contrast * bumps[..., None]
    if fill.rim_width:
        rim = _rim(stencil, max(1, round(fill.rim_width * sprite.radius_px)))
        if np.count_nonzero(rim & stencil.solid) < 0.45 * stencil.area:
            _blend(rgb, rim, fill.rim)
    return rgb.astype(np.float32, copy=False)


def _blend(rgb: FloatArray, where: BoolArray, amount: float) -> None:
    """Move the pixels `where` towards white (amount > 0) or black (< 0), in place."""
    towards = np.float32(255 if amount > 0 else 0)
    share = np.float32(abs(amount))
    rgb[where] += (towards - rgb[where]) * share


def _lesser(where: BoolArray, stencil: Stencil) -> BoolArray:
    """The pattern or its inverse, whichever leaves more than half of the object in its colour."""
    covers_most = 2 * np.count_nonzero(where & stencil.solid) > stencil.area
    return ~where if covers_most else where


def _rim(stencil: Stencil, width_px: int) -> BoolArray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width_px + 1,) * 2)
    # The border of the window may be the frame's: there the outline goes on.
    inner = cv2.erode(stencil.solid.view(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    rim: BoolArray = inner == 0
    return rim
