"""Generated stills and clips of coloured shapes with exact visible masks, boxes and identities.

One generator serves the demo, the tests, the benchmarks and the training of the embedded models.
Everything follows from a seed: the same seed gives the same bytes. Motion is analytic, so any frame
of a clip can be rendered alone and in any order.

Sizes and speeds scale with the shorter side of the image (`unit_px`). Masks are exact: a pixel
belongs to the front-most object that covers at least half of it, and to no other.
Colours are RGB. Points are (x, y) pixels, y down; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Combo = tuple[str, str]
"""(colour, shape)"""


def _regular(corners: int, inner: float = 1.0) -> FloatArray:
    """Outline with corners on the unit circle, the first on top, every second one at `inner`."""
    angle = np.arange(corners) * (2 * math.pi / corners)
    reach = np.where(np.arange(corners) % 2 == 0, 1.0, inner)
    return np.stack([np.sin(angle) * reach, -np.cos(angle) * reach], axis=1).astype(np.float32)


def _square(half: float) -> FloatArray:
    return np.array([(-half, -half), (half, -half), (half, half), (-half, half)], np.float32)


def _plus(arm: float) -> FloatArray:
    a = arm
    corners = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
    return np.array(corners + [(-x, -y) for x, y in corners], np.float32)


COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 38, 40),
    "green": (44, 160, 60),
    "blue": (36, 92, 214),
    "yellow": (240, 214, 40),
    "purple": (140, 60, 180),
    "orange": (250, 136, 20),
    "white": (245, 245, 245),
    "black": (20, 20, 22),
}
"""Name -> RGB."""

SHAPES: Final[dict[str, tuple[FloatArray, ...]]] = {
    "circle": (_regular(64),),
    "square": (_square(0.8),),
    "triangle": (_regular(3),),
    "star": (_regular(10, inner=0.42),),
    "cross": (_plus(0.3),),
    "ring": (_regular(64), _regular(64) * np.float32(0.56)),
}
"""Name -> contours at radius 1, filled by the even-odd rule: a contour inside another is a hole."""

HELD_OUT: Final[frozenset[Combo]] = frozenset(
    {
        ("red", "ring"),
        ("green", "star"),
        ("blue", "cross"),
        ("yellow", "triangle"),
        ("purple", "circle"),
        ("orange", "square"),
        ("white", "ring"),
        ("black", "star"),
    }
)
"""Combinations the embedded models never see in training, to measure what they infer."""

ALL_COMBOS: Final[tuple[Combo, ...]] = tuple((c, s) for c in COLOURS for s in SHAPES)
TRAIN_COMBOS: Final[tuple[Combo, ...]] = tuple(c for c in ALL_COMBOS if c not in HELD_OUT)

_RADIUS: Final = (0.055, 0.22)
_MIN_VISIBLE: Final = 0.65  # of an object in a still; less of it would make its name a guess
_SUPERSAMPLE: Final = 3
_SUBPIXEL_BITS: Final = 4
# Random streams of one seed, kept apart so that a still and a clip of the same seed differ.
_STILL, _CLIP, _GRAIN = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """One object of one frame, with at least one visible pixel."""

    track_id: int  # 1-based; the same object keeps it through a clip
    colour: str
    shape: str
    mask: BoolArray  # (H, W), visible pixels only
    full_area: int  # pixels inside the frame if nothing were in front

    @property
    def phrase(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def area(self) -> int:
        """Visible pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Half-open pixel box of the visible mask."""
        columns = np.flatnonzero(self.mask.any(axis=0))
        rows = np.flatnonzero(self.mask.any(axis=1))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and the truth about it; the masks are disjoint."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    objects: tuple[SceneObject, ...]  # back to front; those without a visible pixel are left out


def draw_still(
    seed: int,
    size_wh: tuple[int, int],
    *,
    combos: Sequence[Combo] = TRAIN_COMBOS,
    min_objects: int = 1,
    max_objects: int = 6,
) -> Scene:
    """A picture with `min_objects` to `max_objects` objects, fewer only where no more fit.

    Objects may overlap; of each at least 65 % of what lies inside the frame stays visible.
    """
    _check_size(size_wh)
    if not 0 <= min_objects <= max_objects:
        raise ValueError(
            f"min_objects {min_objects}, max_objects {max_objects}: need 0 <= min <= max"
        )
    rng = np.random.default_rng([seed, _STILL])
    unit_px = min(size_wh)
    canvas = _Canvas(_background(rng, size_wh))
    wanted = int(rng.integers(min_objects, max_objects + 1))
    for _ in range(wanted * 8):
        if len(canvas.sprites) == wanted:
            break
        sprite = _random_sprite(rng, _pick(rng, combos), unit_px)
        margin = 0.8 * sprite.radius_px
        x, y = (rng.uniform(margin, side - margin) for side in size_wh)
        sprite = replace(sprite, centre_px=(x, y))
        stencil = _cut(sprite, size_wh)
        if stencil is not None and stencil.area >= 20 and canvas.leaves_enough(stencil):
            canvas.paint(sprite, stencil)
    return canvas.finish(rng, gain=rng.uniform(0.88, 1.08), grain=rng.uniform(0, 6))


@dataclass(frozen=True, slots=True)
class Track:
    """Who an object of a clip is, whether or not a frame shows it."""

    track_id: int
    colour: str
    shape: str

    @property
    def phrase(self) -> str:
        return f"{self.colour} {self.shape}"


class Clip:
    """An endless clip of objects that cross, bounce, enter, leave, and pass behind a bar at times.

    `objects` is the number of objects (default 2 to 6), `occluder` forces a bar or forbids it.
    """

    def __init__(
        self,
        seed: int,
        size_wh: tuple[int, int],
        *,
        combos: Sequence[Combo] = TRAIN_COMBOS,
        objects: int | None = None,
        occluder: bool | None = None,
    ) -> None:
        _check_size(size_wh)
        rng = np.random.default_rng([seed, _CLIP])
        self._seed, self._size_wh = seed, size_wh
        self._background = _background(rng, size_wh)
        self._gain, self._grain = rng.uniform(0.88, 1.08), rng.uniform(0, 6)
        # Drawn even when the caller decides, so that the choice changes nothing else in the clip.
        has_bar, count = rng.random() < 0.35, int(rng.integers(2, 7))
        bar = _random_bar(rng, size_wh)
        self._bar = bar if (has_bar if occluder is None else occluder) else None
        self._movers: list[_Mover] = []
        for _ in range(count if objects is None else objects):
            self._movers.append(_random_mover(rng, self._movers, combos, size_wh))

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Every object of the clip, seen or not; `track_id` counts from 1."""
        sprites = (mover.sprite for mover in self._movers)
        return tuple(Track(i, s.colour, s.shape) for i, s in enumerate(sprites, start=1))

    def frame(self, t: float, *, without: Collection[int] = ()) -> Scene:
        """The picture at time `t` in frames (>= 0; fractions give in-between motion).

        The tracks `without` are left out, as if they were not there.
        """
        rng = np.random.default_rng([self._seed, _GRAIN, round(t * 1024)])
        canvas = _Canvas(self._background.copy())
        for track_id, mover in enumerate(self._movers, start=1):
            sprite = mover.at(t, self._size_wh)
            canvas.paint(sprite, None if track_id in without else _cut(sprite, self._size_wh))
        if self._bar is not None:
            canvas.cover(self._bar)
        return canvas.finish(rng, gain=self._gain, grain=self._grain)


@dataclass(frozen=True, slots=True)
class _Fill:
    """Surface of an object; it turns and grows with the object."""

    rgb: tuple[float, float, float]
    shade: float  # brightness change from centre to rim along `angle`, as a fraction
    angle: float  # radians
    pattern: str
    contrast: float  # grey levels
    period: float  # radii


@dataclass(frozen=True, slots=True)
class _Sprite:
    colour: str
    shape: str
    fill: _Fill
    radius_px: float
    angle: float  # radians
    centre_px: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Stencil:
    """Where a sprite falls: a window of the image, coverage 0..1 in it, and the pixels it owns."""

    window: tuple[slice, slice]
    coverage: FloatArray
    solid: BoolArray
    area: int


@dataclass(frozen=True, slots=True, eq=False)
class _Bar:
    window: tuple[slice, slice]
    rgb: FloatArray  # (h, w, 3)


class _Canvas:
    """An image under construction and the owner of every pixel: 0 nobody, i the i-th sprite."""

    def __init__(self, image: FloatArray) -> None:
        self._image = image
        self._owner = np.zeros(image.shape[:2], np.int16)
        self._areas: list[int] = []
        self.sprites: list[_Sprite] = []

    def leaves_enough(self, stencil: _Stencil) -> bool:
        """Would every object, this one included, stay visible enough and apart enough?"""
        hidden = self._owner[stencil.window][stencil.solid]
        for number in np.unique(hidden[hidden > 0]):
            inter = int(np.count_nonzero(hidden == number))
            left = int(np.count_nonzero(self._owner == number)) - inter
            if left < _MIN_VISIBLE * self._areas[number - 1]:
                return False
            # Nor may it lie mostly on top of another: that would be a pattern, not an object.
            if inter > (1 - _MIN_VISIBLE) * stencil.area:
                return False
        return True

    def paint(self, sprite: _Sprite, stencil: _Stencil | None) -> None:
        """Put a sprite in front of all others; None is a sprite outside the frame."""
        self.sprites.append(sprite)
        self._areas.append(0 if stencil is None else stencil.area)
        if stencil is None:
            return
        under = self._image[stencil.window]
        surface = _surface(sprite, stencil.window)
        surface -= under
        surface *= stencil.coverage[..., None]
        under += surface
        self._owner[stencil.window][stencil.solid] = len(self.sprites)

    def cover(self, bar: _Bar) -> None:
        self._image[bar.window] = bar.rgb
        self._owner[bar.window] = 0

    def finish(self, rng: Generator, *, gain: float, grain: float) -> Scene:
        """Light and film grain (standard deviation in grey levels), then round to bytes."""
        image = self._image
        image += rng.standard_normal((*image.shape[:2], 1), dtype=np.float32) * np.float32(grain)
        image *= np.float32(gain)
        pixels = np.clip(image, 0, 255, out=image).astype(np.uint8)
        seen = np.bincount(self._owner.ravel(), minlength=len(self.sprites) + 1)
        drawn = zip(self.sprites, self._areas, strict=True)
        objects = (
            SceneObject(number, sprite.colour, sprite.shape, self._owner == number, area)
            for number, (sprite, area) in enumerate(drawn, start=1)
            if seen[number]
        )
        return Scene(pixels, tuple(objects))


@dataclass(frozen=True, slots=True)
class _Mover:
    """A sprite with analytic motion; its own centre is where it is at t = 0."""

    sprite: _Sprite
    velocity_px: tuple[float, float]  # per frame
    spin: float  # radians per frame
    growth: float  # fraction per frame
    wobble_px: float  # amplitude across the path
    wobble_rate: float  # radians per frame
    bounces: bool  # off the frame's edge, else it leaves

    def at(self, t: float, size_wh: tuple[int, int]) -> _Sprite:
        vx, vy = self.velocity_px
        speed = math.hypot(vx, vy)
        sway = self.wobble_px * math.sin(self.wobble_rate * t) / speed if speed else 0.0
        x = self.sprite.centre_px[0] + vx * t - vy * sway
        y = self.sprite.centre_px[1] + vy * t + vx * sway
        if self.bounces:
            x, y = _fold(x, size_wh[0]), _fold(y, size_wh[1])
        return replace(
            self.sprite,
            centre_px=(x, y),
            radius_px=self.sprite.radius_px * min(max(1 + self.growth * t, 0.6), 1.5),
            angle=self.sprite.angle + self.spin * t,
        )


def _check_size(size_wh: tuple[int, int]) -> None:
    if min(size_wh) < 32:
        raise ValueError(f"size {size_wh[0]}x{size_wh[1]}: both sides must be at least 32 px")


def _pick(rng: Generator, combos: Sequence[Combo]) -> Combo:
    return combos[int(rng.integers(len(combos)))]


def _fold(x: float, length: float) -> float:
    """Reflect a coordinate at 0 and `length` as often as it takes."""
    x %= 2 * length
    return 2 * length - x if x > length else x


def _random_sprite(rng: Generator, combo: Combo, unit_px: float) -> _Sprite:
    """A sprite of random size, turn and surface; its place is up to the caller."""
    r, g, b = np.array(COLOURS[combo[0]]) + rng.normal(0, 7, 3)
    patterns = ("plain", "plain", "stripes", "checks", "mottled")
    fill = _Fill(
        rgb=(float(r), float(g), float(b)),
        shade=rng.uniform(0, 0.12),
        angle=rng.uniform(0, 2 * math.pi),
        pattern=patterns[int(rng.integers(len(patterns)))],
        contrast=rng.uniform(4, 14),
        period=rng.uniform(0.3, 0.9),
    )
    radius_px = unit_px * math.exp(rng.uniform(math.log(_RADIUS[0]), math.log(_RADIUS[1])))
    return _Sprite(*combo, fill, radius_px, rng.uniform(0, 2 * math.pi), (0.0, 0.0))


def _cut(sprite: _Sprite, size_wh: tuple[int, int]) -> _Stencil | None:
    """Rasterise the outline, or None where the frame does not show it."""
    (cx, cy), reach = sprite.centre_px, sprite.radius_px + 2
    x0, y0 = max(0, math.floor(cx - reach)), max(0, math.floor(cy - reach))
    x1, y1 = min(size_wh[0], math.ceil(cx + reach)), min(size_wh[1], math.ceil(cy + reach))
    if x0 >= x1 or y0 >= y1:
        return None
    cos, sin = math.cos(sprite.angle), math.sin(sprite.angle)
    turn = np.array([(cos, sin), (-sin, cos)]) * sprite.radius_px
    fine = np.zeros(((y1 - y0) * _SUPERSAMPLE, (x1 - x0) * _SUPERSAMPLE), np.uint8)
    # OpenCV puts whole numbers on pixel centres, this module half numbers.
    contours = [
        ((points @ turn + (cx - x0, cy - y0)) * _SUPERSAMPLE - 0.5) * (1 << _SUBPIXEL_BITS)
        for points in SHAPES[sprite.shape]
    ]
    corners = [np.rint(c).astype(np.int32) for c in contours]
    cv2.fillPoly(fine, corners, 255, cv2.LINE_8, _SUBPIXEL_BITS)
    alpha = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    solid = alpha > 127
    area = int(np.count_nonzero(solid))
    if not area:
        return None
    coverage = alpha.astype(np.float32) * np.float32(1 / 255)
    return _Stencil((slice(y0, y1), slice(x0, x1)), coverage, solid, area)


def _surface(sprite: _Sprite, window: tuple[slice, slice]) -> FloatArray:
    """RGB of a sprite's surface on a window, (h, w, 3)."""
    rows, columns = window
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - sprite.centre_px[0])[None]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - sprite.centre_px[1])[:, None]
    fill, angle = sprite.fill, sprite.fill.angle + sprite.angle
    cos, sin = math.cos(angle) / sprite.radius_px, math.sin(angle) / sprite.radius_px
    u, v = x * cos + y * sin, y * cos - x * sin
    rgb = (1 + u * fill.shade)[..., None] * np.array(fill.rgb, np.float32)
    rate = 2 * math.pi / fill.period
    if fill.pattern == "stripes":
        rgb += fill.contrast * np.sin(v * rate)[..., None]
    elif fill.pattern == "checks":
        rgb += fill.contrast * np.sign(np.sin(u * rate) * np.sin(v * rate))[..., None]
    elif fill.pattern == "mottled":
        bumps = np.sin(u * rate + 2 * np.sin(v * rate)) * np.sin((u + 1.4 * v) * rate)
        rgb += fill.contrast * bumps[..., None]
    return rgb.astype(np.float32, copy=False)


def _background(rng: Generator, size_wh: tuple[int, int]) -> FloatArray:
    """Gradient with soft texture and clutter, (H, W, 3); muted so that no colour is in doubt."""
    width, height = size_wh
    ends = rng.uniform(60, 190, 3) + np.array([np.zeros(3), rng.uniform(-45, 45, 3)])
    grey = ends.mean(axis=1, keepdims=True)
    ends = grey + (ends.clip(30, 215) - grey) * rng.uniform(0, 0.5)
    angle = rng.uniform(0, 2 * math.pi)
    # Rendered on a coarse grid and enlarged: smooth by construction, and fast.
    cells = 24 / min(size_wh)
    shape = (max(2, round(height * cells)), max(2, round(width * cells)))
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array([24.0, 24.0])[:, None, None] - 0.5
    mix = (x * math.cos(angle) + y * math.sin(angle) + 0.5).clip(0, 1)[..., None]
    coarse = ends[0] * (1 - mix) + ends[1] * mix
    for octave in (3, 1):
        small = (max(2, shape[0] // octave), max(2, shape[1] // octave))
        lumps = rng.standard_normal(small) * rng.uniform(0, 9)
        coarse += cv2.resize(lumps, shape[::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    small_image = coarse.clip(0, 255).astype(np.uint8)
    image: NDArray[np.uint8] = cv2.resize(small_image, size_wh, interpolation=cv2.INTER_CUBIC)
    _clutter(rng, image)
    return image.astype(np.float32)


def _clutter(rng: Generator, image: NDArray[np.uint8]) -> None:
    """Draw specks, lines and blobs that are no objects: little off what lies under them."""
    height, width = image.shape[:2]
    unit_px = min(width, height)
    for kind in rng.choice(["speck", "line", "blob"], size=int(rng.integers(0, 9))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        step = rng.choice([-1.0, 1.0]) * rng.uniform(8, 26) + rng.normal(0, 3, 3)
        colour = tuple(float(c) for c in (image[y, x] + step).clip(25, 215))
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


def _random_bar(rng: Generator, size_wh: tuple[int, int]) -> _Bar:
    """A muted bar across the whole frame, behind which objects vanish."""
    width, height = size_wh
    upright = rng.random() < 0.5
    length = width if upright else height
    middle = rng.uniform(0.25, 0.75) * length
    half = rng.uniform(0.03, 0.09) * min(size_wh)
    across = slice(max(0, round(middle - half)), round(middle + half))
    window = (slice(0, height), across) if upright else (across, slice(0, width))
    h, w = (s.stop - s.start for s in window)
    grey = rng.uniform(60, 190) + rng.normal(0, 8, 3)
    ridges = rng.normal(0, 5, (1, w, 1) if upright else (h, 1, 1))
    return _Bar(window, np.broadcast_to(grey + ridges, (h, w, 3)).astype(np.float32))


def _random_mover(
    rng: Generator, others: Sequence[_Mover], combos: Sequence[Combo], size_wh: tuple[int, int]
) -> _Mover:
    """A new object in front of `others`: at times a twin of the last, or aimed at one of them."""
    unit_px = min(size_wh)
    sprite = _random_sprite(rng, _pick(rng, combos), unit_px)
    if others and rng.random() < 0.2:
        twin = others[-1].sprite
        sprite = replace(sprite, colour=twin.colour, shape=twin.shape, fill=twin.fill)
    place = rng.uniform(0.08, 0.92, 2) * size_wh
    speed = 0.0 if rng.random() < 0.1 else rng.uniform(0.002, 0.026) * unit_px
    heading = rng.uniform(0, 2 * math.pi)
    velocity = speed * np.array([math.cos(heading), math.sin(heading)])
    bounces = bool(rng.random() < 0.7)
    fate = rng.random()
    if others and fate < 0.3:
        # Meets another object after `when` frames, at no more than the highest usual speed.
        target, when = others[int(rng.integers(len(others)))], rng.uniform(6, 24)
        velocity = (np.array(target.at(when, size_wh).centre_px) - place) / when
        velocity *= min(1.0, 0.026 * unit_px / max(float(np.hypot(*velocity)), 1e-6))
    elif others and fate < 0.45:
        # Waits outside the frame and comes in after `when` frames.
        when, speed = rng.uniform(2, 14), rng.uniform(0.01, 0.026) * unit_px
        middle = np.array(size_wh) / 2
        inward = middle - place
        velocity = inward / max(float(np.hypot(*inward)), 1e-6) * speed
        inside = ((middle + sprite.radius_px) / np.maximum(np.abs(velocity), 1e-6)).min()
        place, bounces = middle - velocity * (inside + when), False
    return _Mover(
        sprite=replace(sprite, centre_px=(float(place[0]), float(place[1]))),
        velocity_px=(float(velocity[0]), float(velocity[1])),
        spin=rng.uniform(-0.12, 0.12) if rng.random() < 0.5 else 0.0,
        growth=rng.uniform(-0.008, 0.008) if rng.random() < 0.4 else 0.0,
        wobble_px=rng.uniform(0, 0.04) * unit_px if rng.random() < 0.5 else 0.0,
        wobble_rate=rng.uniform(0.1, 0.4),
        bounces=bounces,
    )
