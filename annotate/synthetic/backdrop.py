"""What lies behind, before and above the objects: background, things that are none, light, bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from annotate.synthetic.sprite import Stencil, cut_outline
from annotate.synthetic.vocabulary import FloatArray

_STRANGE_COLOURS: Final = (
    (118, 122, 44),  # olive
    (222, 202, 164),  # beige
    (16, 122, 112),  # teal
    (236, 132, 112),  # salmon
    (184, 174, 226),  # lavender
    (168, 226, 190),  # mint
)
"""RGB that no class word fits."""


def background(rng: Generator, size_wh: tuple[int, int], unit_px: float) -> FloatArray:
    """Gradient with texture and clutter, (H, W, 3); muted so that no colour is in doubt.

    `unit_px` is the shorter side of the frame that shows it, which `size_wh` may exceed.
    """
    width, height = size_wh
    level = rng.uniform(40, 215)
    ends = level + np.array([np.zeros(3), rng.uniform(-60, 60, 3)]) + rng.normal(0, 18, (2, 3))
    grey = ends.mean(axis=1, keepdims=True)
    ends = grey + (ends.clip(25, 225) - grey) * rng.uniform(0, 0.5)
    angle = rng.uniform(0, 2 * math.pi)
    # Rendered on a coarse grid and enlarged: smooth by construction, and fast.
    cells = 24 / unit_px
    shape = (max(2, round(height * cells)), max(2, round(width * cells)))
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None] - 0.5
    mix = (x * math.cos(angle) + y * math.sin(angle) + 0.5).clip(0, 1)[..., None]
    coarse = ends[0] * (1 - mix) + ends[1] * mix
    for octave in (3, 1):
        small = (max(2, shape[0] // octave), max(2, shape[1] // octave))
        lumps = rng.standard_normal(small) * rng.uniform(0, 12)
        coarse += cv2.resize(lumps, shape[::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    small_image = coarse.clip(0, 255).astype(np.uint8)
    image: NDArray[np.uint8] = cv2.resize(small_image, size_wh, interpolation=cv2.INTER_CUBIC)
    _clutter(rng, image, unit_px)
    painted = image.astype(np.float32)
    _weave(rng, painted, unit_px)
    return painted


def _weave(rng: Generator, image: FloatArray, unit_px: float) -> None:
    """A regular texture such as planks, tiles or cloth, at times."""
    kind = rng.choice(["none", "planks", "tiles", "cloth"], p=[0.5, 0.2, 0.15, 0.15])
    height, width = image.shape[:2]
    angle, period = rng.uniform(0, math.pi), rng.uniform(0.05, 0.3) * unit_px
    depth = np.float32(rng.uniform(4, 16))
    if kind == "none":
        return
    y, x = np.mgrid[:height, :width].astype(np.float32) * np.float32(2 * math.pi / period)
    u = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    v = y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))
    if kind == "planks":
        image += (depth * np.sign(np.sin(u) - 0.6))[..., None]
    elif kind == "tiles":
        image += (depth * np.sign(np.sin(u) * np.sin(v)))[..., None]
    else:
        image += (depth / 2 * (np.sin(3 * u) + np.sin(3 * v)))[..., None]


def _clutter(rng: Generator, image: NDArray[np.uint8], unit_px: float) -> None:
    """Draw specks, lines and blobs that are no objects: little off what lies under them."""
    height, width = image.shape[:2]
    for kind in rng.choice(["speck", "line", "blob"], size=int(rng.integers(0, 12))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        step = rng.choice([-1.0, 1.0]) * rng.uniform(8, 30) + rng.normal(0, 3, 3)
        colour = tuple(float(c) for c in (image[y, x] + step).clip(20, 225))
        if kind == "speck":
            radius = max(1, round(unit_px * rng.uniform(0.004, 0.01)))
            cv2.circle(image, (x, y), radius, colour, -1, cv2.LINE_AA)
        elif kind == "line":
            length, angle = unit_px * rng.uniform(0.1, 0.6), rng.uniform(0, 2 * math.pi)
            end = (round(x + length * math.cos(angle)), round(y + length * math.sin(angle)))
            cv2.line(image, (x, y), end, colour, max(1, round(unit_px * 0.005)), cv2.LINE_AA)
        else:
            long, short = rng.uniform((0.02, 0.01), (0.07, 0.03)) * unit_px
            axes, turn = (round(long), round(short)), rng.uniform(0, 180)
            cv2.ellipse(image, (x, y), axes, turn, 0, 360, colour, -1, cv2.LINE_AA)


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """A thing of a form and a colour that no word of the vocabulary fits."""

    contour: FloatArray  # at radius 1
    rgb: FloatArray  # (3,)
    radius_px: float
    angle: float
    centre_px: tuple[float, float]

    def at(
        self, centre_px: tuple[float, float], zoom: float, size_wh: tuple[int, int]
    ) -> Stencil | None:
        """Its stencil where the frame shows it there and so large."""
        return cut_outline((self.contour,), centre_px, self.radius_px * zoom, self.angle, size_wh)


def random_strangers(rng: Generator, size_wh: tuple[int, int], *, most: int) -> list[Stranger]:
    """Up to `most` of them anywhere in the frame."""
    unit_px = min(size_wh)
    return [_random_stranger(rng, size_wh, unit_px) for _ in range(int(rng.integers(most + 1)))]


def _random_stranger(rng: Generator, size_wh: tuple[int, int], unit_px: float) -> Stranger:
    if rng.random() < 0.5:  # a lump with a wavy rim
        angle = np.arange(48) * (2 * math.pi / 48)
        waves = [(int(rng.integers(2, 6)), rng.uniform(0.1, 0.3), rng.uniform(0, 6)) for _ in "ab"]
        reach = 0.65 + sum(depth * np.sin(n * angle + phase) for n, depth, phase in waves)
        contour = np.stack([np.cos(angle), np.sin(angle)], 1) * np.clip(reach, 0.2, 1)[:, None]
    else:  # a shard: a few corners, none like another
        corners = int(rng.integers(5, 9))
        angle = np.sort(rng.uniform(0, 2 * math.pi, corners))
        reach = rng.uniform(0.3, 1, corners)
        contour = np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]
    colour = _STRANGE_COLOURS[int(rng.integers(len(_STRANGE_COLOURS)))]
    return Stranger(
        contour=contour.astype(np.float32),
        rgb=(np.array(colour) + rng.normal(0, 6, 3)).astype(np.float32),
        radius_px=unit_px * math.exp(rng.uniform(math.log(0.04), math.log(0.16))),
        angle=rng.uniform(0, 2 * math.pi),
        centre_px=(rng.uniform(0, size_wh[0]), rng.uniform(0, size_wh[1])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """A muted bar across the whole frame, behind which objects vanish."""

    upright: bool
    middle_px: float
    half_px: float
    rgb: FloatArray  # (n, 3) across the bar

    def paint(
        self, image: FloatArray, *, shift_px: tuple[float, float], zoom: float
    ) -> tuple[slice, slice]:
        """Draw it as a camera shows it, and return the window it covers."""
        height, width = image.shape[:2]
        length = width if self.upright else height
        centre = (self.middle_px - length / 2) * zoom + length / 2
        centre += shift_px[0] if self.upright else shift_px[1]
        start = min(max(round(centre - self.half_px * zoom), 0), length)
        stop = min(max(round(centre + self.half_px * zoom), start), length)
        window = (slice(0, height), slice(start, stop))
        if not self.upright:
            window = (slice(start, stop), slice(0, width))
        if stop > start:
            ridges = cv2.resize(self.rgb[None], (stop - start, 1), interpolation=cv2.INTER_LINEAR)
            image[window] = ridges if self.upright else ridges.transpose(1, 0, 2)
        return window


def random_bar(rng: Generator, size_wh: tuple[int, int]) -> Bar:
    width, height = size_wh
    upright = bool(rng.random() < 0.5)
    length = width if upright else height
    grey = rng.uniform(50, 205) + rng.normal(0, 8, 3)
    return Bar(
        upright=upright,
        middle_px=rng.uniform(0.2, 0.8) * length,
        half_px=rng.uniform(0.03, 0.09) * min(size_wh),
        rgb=(grey + rng.normal(0, 5, (16, 1))).astype(np.float32),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """How a scene is lit and taken: applied last, to everything."""

    gain: FloatArray  # (4, 4), enlarged to the frame
    blur_px: float  # standard deviation
    grain: float  # standard deviation, grey levels
    shadow: float  # how dark objects' shadows are, 0..1
    shadow_way: tuple[float, float]  # in radii of the object

    def finish(self, rng: Generator, image: FloatArray) -> NDArray[np.uint8]:
        """Blur, light, grain, and bytes; overwrites `image`."""
        height, width = image.shape[:2]
        if self.blur_px:
            cv2.GaussianBlur(image, (0, 0), self.blur_px, dst=image)
        image *= cv2.resize(self.gain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
        image += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(self.grain)
        return np.clip(image, 0, 255, out=image).astype(np.uint8)


def random_light(rng: Generator, unit_px: float) -> Light:
    uneven = rng.uniform(0, 0.09)
    gain = rng.uniform(0.88, 1.08) * (1 + rng.uniform(-1, 1, (4, 4)) * uneven)
    way = rng.uniform(0, 2 * math.pi)
    return Light(
        gain=gain.astype(np.float32),
        blur_px=rng.uniform(0.3, 0.005 * unit_px + 0.3) if rng.random() < 0.35 else 0.0,
        grain=rng.uniform(0, 8),
        shadow=rng.uniform(0.2, 0.5) if rng.random() < 0.4 else 0.0,
        shadow_way=(0.3 * math.cos(way), 0.3 * math.sin(way)),
    )
