"""Single pictures of objects that are all in plain sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from annotate.synthetic.backdrop import background, random_bar, random_light, random_strangers
from annotate.synthetic.canvas import Canvas, Scene
from annotate.synthetic.sprite import LEAST_RADIUS_PX, cut, cut_outline, random_sprite
from annotate.synthetic.vocabulary import TRAIN_COMBOS, Combo

_STILL = 0  # the random stream of stills; clips have others of the same seed
_LEAST_AREA = 2.2 * LEAST_RADIUS_PX**2  # px, about the thinnest shape at the least radius


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
    check_size(size_wh)
    if not 0 <= min_objects <= max_objects:
        raise ValueError(
            f"min_objects {min_objects}, max_objects {max_objects}: need 0 <= min <= max"
        )
    rng = np.random.default_rng([seed, _STILL])
    unit_px = min(size_wh)
    canvas = Canvas(background(rng, size_wh, unit_px), random_light(rng, unit_px))
    wanted = int(rng.integers(min_objects, max_objects + 1))
    for stranger in random_strangers(rng, size_wh, most=3):
        stencil = stranger.at(stranger.centre_px, 1.0, size_wh)
        if stencil is not None:
            canvas.cover(stencil, stranger.rgb)
    for _ in range(wanted * 8):
        if len(canvas.sprites) == wanted:
            break
        sprite = random_sprite(rng, pick(rng, combos), unit_px, crowd=wanted)
        margin = min(0.8 * sprite.radius_px, 0.45 * unit_px)
        x, y = (rng.uniform(margin, side - margin) for side in size_wh)
        sprite = replace(sprite, centre_px=(x, y))
        stencil = cut(sprite, size_wh)
        if stencil is None or stencil.area < _LEAST_AREA:
            continue
        if canvas.leaves_enough(sprite, stencil):
            canvas.paint(sprite, stencil)
    _occlude(rng, canvas, size_wh)
    return canvas.finish(rng)


def check_size(size_wh: tuple[int, int]) -> None:
    if min(size_wh) < 32:
        raise ValueError(f"size {size_wh[0]}x{size_wh[1]}: both sides must be at least 32 px")


def pick(rng: Generator, combos: Sequence[Combo]) -> Combo:
    return combos[int(rng.integers(len(combos)))]


def _occlude(rng: Generator, canvas: Canvas, size_wh: tuple[int, int]) -> None:
    """At times a strip in front that cuts what it crosses into parts, and hides little of it."""
    if rng.random() >= 0.25:
        return
    bar = random_bar(rng, size_wh)
    half = bar.half_px * 0.5
    way = np.array([1.0, 0.0]) if bar.upright else np.array([0.0, 1.0])
    middle = np.array(size_wh) / 2
    centre = middle + way * (bar.middle_px - middle @ way)
    long = (np.array([1.0, 1.0]) - way) * max(size_wh) + way * half
    contour = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32) * long.astype(np.float32)
    reach = float(np.abs(contour).max())
    angle = rng.uniform(-0.5, 0.5)
    stencil = cut_outline(
        (contour / np.float32(reach),), (float(centre[0]), float(centre[1])), reach, angle, size_wh
    )
    if stencil is not None and not canvas.hides_too_much(stencil):
        canvas.cover(stencil, bar.rgb.mean(0))
