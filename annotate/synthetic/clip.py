"""Endless clips: objects that cross, hide, leave, come back; a camera that moves at times."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from annotate.synthetic.backdrop import Bar, background, random_bar, random_light, random_strangers
from annotate.synthetic.canvas import Canvas, Scene
from annotate.synthetic.sprite import Sprite, cut, random_sprite
from annotate.synthetic.still import check_size, pick
from annotate.synthetic.vocabulary import TRAIN_COMBOS, Combo, FloatArray

_CLIP, _GRAIN = 1, 2  # random streams of a seed, apart from that of stills
_MARGIN = 0.25  # of the frame's sides, how far the background reaches beyond it
_FASTEST = 0.026  # of the shorter side per frame, but for the few that race
_RACING = 0.05


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
    """An endless clip of objects that cross, bounce, enter, leave, and pass behind bars at times.

    `objects` is the number of objects (default 2 to 6); `occluder` forces a bar or forbids it,
    `camera` forces a moving camera or forbids it. Motion is analytic, so any frame can be rendered
    alone and in any order.
    """

    def __init__(
        self,
        seed: int,
        size_wh: tuple[int, int],
        *,
        combos: Sequence[Combo] = TRAIN_COMBOS,
        objects: int | None = None,
        occluder: bool | None = None,
        camera: bool | None = None,
    ) -> None:
        check_size(size_wh)
        rng = np.random.default_rng([seed, _CLIP])
        self._seed, self._size_wh = seed, size_wh
        unit_px = min(size_wh)
        beyond_wh = tuple(math.ceil(side * (1 + 2 * _MARGIN)) for side in size_wh)
        self._background = background(rng, (beyond_wh[0], beyond_wh[1]), unit_px)
        self._light = random_light(rng, unit_px)
        self._strangers = random_strangers(rng, size_wh, most=2)
        # Drawn even when the caller decides, so that the choice changes nothing else in the clip.
        has_bar, moves, count = rng.random() < 0.35, rng.random() < 0.4, int(rng.integers(2, 7))
        bars = [random_bar(rng, size_wh) for _ in range(1 + int(rng.random() < 0.2))]
        moving = _random_camera(rng, unit_px)
        self._bars: list[Bar] = bars if (has_bar if occluder is None else occluder) else []
        self._camera = moving if (moves if camera is None else camera) else _Camera()
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

        The tracks `without` are left out, as if they had never been there.
        """
        rng = np.random.default_rng([self._seed, _GRAIN, round(t * 1024)])
        shift, zoom = self._camera.at(t)
        canvas = Canvas(self._seen_background(shift, zoom), self._light)
        for stranger in self._strangers:
            centre = self._camera_view(stranger.centre_px, shift, zoom)
            stencil = stranger.at(centre, zoom, self._size_wh)
            if stencil is not None:
                canvas.cover(stencil, stranger.rgb)
        for track_id, mover in enumerate(self._movers, start=1):
            if track_id in without:
                continue
            there = mover.at(t, self._size_wh)
            sprite = replace(
                there,
                centre_px=self._camera_view(there.centre_px, shift, zoom),
                radius_px=there.radius_px * zoom,
            )
            canvas.paint(sprite, cut(sprite, self._size_wh), number=track_id)
        for bar in self._bars:
            canvas.bar(bar, shift, zoom)
        return canvas.finish(rng)

    def _camera_view(
        self, point_px: tuple[float, float], shift: tuple[float, float], zoom: float
    ) -> tuple[float, float]:
        """Where the frame shows a point of the world."""
        x, y = (
            (p - side / 2) * zoom + side / 2 + s
            for p, side, s in zip(point_px, self._size_wh, shift, strict=True)
        )
        return x, y

    def _seen_background(self, shift: tuple[float, float], zoom: float) -> FloatArray:
        (width, height), (rows, columns) = self._size_wh, self._background.shape[:2]
        if zoom == 1 and shift == (0.0, 0.0):
            top, left = (rows - height) // 2, (columns - width) // 2
            return self._background[top : top + height, left : left + width].copy()
        to_frame = np.array(
            [
                [zoom, 0, width / 2 + shift[0] - zoom * columns / 2],
                [0, zoom, height / 2 + shift[1] - zoom * rows / 2],
            ]
        )
        seen = np.empty((height, width, 3), np.float32)
        cv2.warpAffine(
            self._background, to_frame, self._size_wh, seen, borderMode=cv2.BORDER_REPLICATE
        )
        return seen


@dataclass(frozen=True, slots=True)
class _Camera:
    """Pan and zoom that sway; by default it stands."""

    pan_px: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)  # radians per frame: x, y, zoom
    phases: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, t: float) -> tuple[tuple[float, float], float]:
        """Shift of the world in the frame, px, and its enlargement."""
        x, y, z = (
            math.sin(rate * t + phase) for rate, phase in zip(self.rates, self.phases, strict=True)
        )
        return (self.pan_px[0] * x, self.pan_px[1] * y), 1 + self.zoom * z


def _random_camera(rng: Generator, unit_px: float) -> _Camera:
    pan = rng.uniform(0.03, 0.13, 2) * unit_px
    rates = rng.uniform(0.03, 0.12, 3)
    phases = rng.uniform(0, 2 * math.pi, 3)
    return _Camera(
        pan_px=(float(pan[0]), float(pan[1])),
        zoom=float(rng.uniform(0, 0.12)),
        rates=(float(rates[0]), float(rates[1]), float(rates[2])),
        phases=(float(phases[0]), float(phases[1]), float(phases[2])),
    )


@dataclass(frozen=True, slots=True)
class _Mover:
    """A sprite with analytic motion; its own centre is where it is at t = 0."""

    sprite: Sprite
    velocity_px: tuple[float, float]  # per frame
    spin: float  # radians per frame
    growth: float  # fraction per frame
    wobble_px: float  # amplitude across the path
    wobble_rate: float  # radians per frame
    beyond_px: float | None  # how far outside the frame it turns round; None: it never does

    def at(self, t: float, size_wh: tuple[int, int]) -> Sprite:
        vx, vy = self.velocity_px
        speed = math.hypot(vx, vy)
        sway = self.wobble_px * math.sin(self.wobble_rate * t) / speed if speed else 0.0
        x = self.sprite.centre_px[0] + vx * t - vy * sway
        y = self.sprite.centre_px[1] + vy * t + vx * sway
        if self.beyond_px is not None:
            x, y = (_fold(p, side, self.beyond_px) for p, side in zip((x, y), size_wh, strict=True))
        return replace(
            self.sprite,
            centre_px=(x, y),
            radius_px=self.sprite.radius_px * min(max(1 + self.growth * t, 0.55), 1.7),
            angle=self.sprite.angle + self.spin * t,
        )


def _fold(x: float, length: float, beyond: float) -> float:
    """Reflect a coordinate at `-beyond` and `length + beyond` as often as it takes."""
    span = length + 2 * beyond
    x = (x + beyond) % (2 * span)
    return (2 * span - x if x > span else x) - beyond


def _random_mover(
    rng: Generator, others: Sequence[_Mover], combos: Sequence[Combo], size_wh: tuple[int, int]
) -> _Mover:
    """A new object in front of `others`: at times a twin of the last, or aimed at one of them."""
    unit_px = min(size_wh)
    sprite = random_sprite(rng, pick(rng, combos), unit_px, crowd=len(others) + 1)
    if others and rng.random() < 0.2:
        twin = others[-1].sprite
        sprite = replace(twin, angle=sprite.angle)
    place = rng.uniform(0.08, 0.92, 2) * size_wh
    speed = 0.0 if rng.random() < 0.1 else rng.uniform(0.002, _FASTEST) * unit_px
    if rng.random() < 0.08:
        speed = rng.uniform(_FASTEST, _RACING) * unit_px
    heading = rng.uniform(0, 2 * math.pi)
    velocity = speed * np.array([math.cos(heading), math.sin(heading)])
    # Most bounce off the edge, some turn round far outside and are away for a while, some leave.
    turns = rng.random()
    beyond = 0.0 if turns < 0.55 else rng.uniform(0.15, 0.5) * unit_px if turns < 0.75 else None
    fate = rng.random()
    if others and fate < 0.3:
        # Meets another object after `when` frames, at no more than the highest usual speed.
        target, when = others[int(rng.integers(len(others)))], rng.uniform(6, 24)
        velocity = (np.array(target.at(when, size_wh).centre_px) - place) / when
        velocity *= min(1.0, _FASTEST * unit_px / max(float(np.hypot(*velocity)), 1e-6))
    elif others and fate < 0.45:
        # Waits outside the frame and comes in after `when` frames.
        when, speed = rng.uniform(2, 14), rng.uniform(0.01, _FASTEST) * unit_px
        middle = np.array(size_wh) / 2
        inward = middle - place
        velocity = inward / max(float(np.hypot(*inward)), 1e-6) * speed
        inside = ((middle + sprite.radius_px) / np.maximum(np.abs(velocity), 1e-6)).min()
        place, beyond = middle - velocity * (inside + when), None
    return _Mover(
        sprite=replace(sprite, centre_px=(float(place[0]), float(place[1]))),
        velocity_px=(float(velocity[0]), float(velocity[1])),
        spin=rng.uniform(-0.12, 0.12) if rng.random() < 0.5 else 0.0,
        growth=rng.uniform(-0.012, 0.012) if rng.random() < 0.4 else 0.0,
        wobble_px=rng.uniform(0, 0.04) * unit_px if rng.random() < 0.5 else 0.0,
        wobble_rate=rng.uniform(0.1, 0.4),
        beyond_px=beyond,
    )
