"""Pictures under construction, with the owner of every pixel, and the truth they end as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from annotate.synthetic.backdrop import Bar, Light
from annotate.synthetic.sprite import BoolArray, Sprite, Stencil, Window, named_size, surface
from annotate.synthetic.vocabulary import FloatArray

MIN_VISIBLE: Final = 0.65  # of an object in a still; less of it would make its name a guess
_ON_TOP_RATIO: Final = 4  # an object this many times smaller may lie wholly on another
_LEAST_CONTRAST: Final = 75  # sum over RGB, to what lies under an object


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """One object of one frame, with at least one visible pixel."""

    track_id: int  # 1-based; the same object keeps it through a clip
    colour: str
    shape: str
    material: str
    size: str  # "small", "large", or "" for what lies between
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


class Canvas:
    """An image and the owner of every pixel: 0 nobody, i the i-th sprite."""

    def __init__(self, image: FloatArray, light: Light) -> None:
        self._image = image
        self._light = light
        self._owner = np.zeros(image.shape[:2], np.int16)
        self._areas: list[int] = []
        self._numbers: list[int] = []
        self.sprites: list[Sprite] = []

    def leaves_enough(self, sprite: Sprite, stencil: Stencil) -> bool:
        """Would every object, this one included, stay visible enough and apart enough?"""
        under = self._image[stencil.window][stencil.solid].mean(0)
        if np.abs(under - np.array(sprite.fill.rgb)).sum() < _LEAST_CONTRAST:
            return False
        for area, inter, left in self._under(stencil):
            if left < MIN_VISIBLE * area:
                return False
            # Nor may it lie mostly on top of one like it in size: that would be a pattern.
            much_smaller = area >= _ON_TOP_RATIO * stencil.area
            if inter > (1 - MIN_VISIBLE) * stencil.area and not much_smaller:
                return False
        return True

    def hides_too_much(self, stencil: Stencil) -> bool:
        """Would something there that is no object hide too much of one?"""
        return any(left < MIN_VISIBLE * area for area, _, left in self._under(stencil))

    def _under(self, stencil: Stencil) -> Iterator[tuple[int, int, int]]:
        """Of each object under it: pixels if nothing were in front, under it, and left in sight."""
        owners, counts = np.unique(self._owner[stencil.window][stencil.solid], return_counts=True)
        for number, inter in zip(owners.tolist(), counts.tolist(), strict=True):
            if number:
                left = int(np.count_nonzero(self._owner == number)) - inter
                yield self._areas[number - 1], inter, left

    def paint(self, sprite: Sprite, stencil: Stencil | None, *, number: int | None = None) -> None:
        """Put a sprite in front of all others; None is a sprite outside the frame.

        `number` is its track id, by default how many there are with it.
        """
        self.sprites.append(sprite)
        self._numbers.append(len(self.sprites) if number is None else number)
        self._areas.append(0 if stencil is None else stencil.area)
        if stencil is None:
            return
        if self._light.shadow:
            self._darken(sprite, stencil)
        self._lay(stencil, surface(sprite, stencil))
        self._owner[stencil.window][stencil.solid] = len(self.sprites)

    def cover(self, stencil: Stencil, rgb: FloatArray) -> None:
        """Put something in front that is no object."""
        self._lay(stencil, np.broadcast_to(rgb, (*stencil.coverage.shape, 3)).copy())
        self._owner[stencil.window][stencil.solid] = 0

    def bar(self, bar: Bar, shift_px: tuple[float, float] = (0.0, 0.0), zoom: float = 1.0) -> None:
        """Put a bar in front of everything."""
        self._owner[bar.paint(self._image, shift_px=shift_px, zoom=zoom)] = 0

    def _lay(self, stencil: Stencil, colour: FloatArray) -> None:
        under = self._image[stencil.window]
        colour -= under
        colour *= stencil.coverage[..., None]
        under += colour

    def _darken(self, sprite: Sprite, stencil: Stencil) -> None:
        """The shadow the sprite casts on what lies under it."""
        dx, dy = (round(way * sprite.radius_px) for way in self._light.shadow_way)
        soft_px = max(1, round(sprite.radius_px / 4))
        wide = np.pad(stencil.coverage, soft_px)
        soft = cv2.blur(wide, (soft_px, soft_px))
        rows, columns = (slice(s.start - soft_px, s.stop + soft_px) for s in stencil.window)
        into, out_of = _shifted((rows, columns), (dy, dx), self._owner.shape)
        self._image[into] *= 1 - np.float32(self._light.shadow) * soft[out_of][..., None]

    def finish(self, rng: Generator) -> Scene:
        """Take the picture; the canvas is used up."""
        unit_px = min(self._image.shape[:2])
        seen = np.bincount(self._owner.ravel(), minlength=len(self.sprites) + 1)
        drawn = zip(self.sprites, self._numbers, self._areas, strict=True)
        objects = tuple(
            SceneObject(
                number,
                sprite.colour,
                sprite.shape,
                sprite.fill.material,
                named_size(sprite, unit_px),
                self._owner == row,
                area,
            )
            for row, (sprite, number, area) in enumerate(drawn, start=1)
            if seen[row]
        )
        return Scene(self._light.finish(rng, self._image), objects)


def _shifted(window: Window, by: tuple[int, int], shape: tuple[int, ...]) -> tuple[Window, Window]:
    """A window moved (rows, columns) and clipped to the image, and that part of the window."""
    into, out_of = [], []
    for side, step, length in zip(window, by, shape, strict=True):
        start = min(max(side.start + step, 0), length)
        stop = min(max(side.stop + step, start), length)
        into.append(slice(start, stop))
        out_of.append(slice(start - side.start - step, stop - side.start - step))
    return (into[0], into[1]), (out_of[0], out_of[1])
