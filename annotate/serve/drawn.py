"""What a person drew, and wants a mask of, as Label Studio tells it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate.errors import ConfigError
from annotate.serve.annotating import BoxXyxy, Point


@dataclass(slots=True)
class Drawn:
    """Boxes, each an object, and points, all of one object."""

    boxes: list[tuple[BoxXyxy, str | None]] = field(default_factory=list)  # px, and the label
    points: list[Point] = field(default_factory=list)
    label: str | None = None  # of the points

    def __bool__(self) -> bool:
        return bool(self.boxes or self.points)


def drawn(context: Any, size_hw: tuple[int, int]) -> Drawn | None:
    """What a request is about, in px of the picture; None: the whole picture.

    Raises ConfigError where a shape has no place.
    """
    shapes = context.get("result") if isinstance(context, Mapping) else None
    if not shapes:
        return None
    if not isinstance(shapes, list):
        raise ConfigError(f"context: result is of {type(shapes).__name__}, expected a list")
    h, w = size_hw
    made = Drawn()
    for shape in shapes:
        value = shape.get("value") if isinstance(shape, Mapping) else None
        if not isinstance(value, Mapping):
            continue
        x, y, wide, high = _place(value)
        x, y, wide, high = x * w / 100, y * h / 100, wide * w / 100, high * h / 100
        label = _label(shape, value)
        if shape.get("type") in ("keypointlabels", "keypoint"):
            if 0 <= x < w and 0 <= y < h:
                made.points.append((x, y, _is_on(shape)))
                made.label = made.label or label
        elif wide > 0 and high > 0:
            box = max(0.0, x), max(0.0, y), min(float(w), x + wide), min(float(h), y + high)
            if box[0] < box[2] and box[1] < box[3]:
                made.boxes.append((box, label))
    return made


def _place(value: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Corner and size in percent."""
    try:
        x, y, wide, high = (
            float(value[key]) if key in "xy" else float(value.get(key, 0))
            for key in ("x", "y", "width", "height")
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError("context: a shape without x and y in percent") from error
    if not all(map(math.isfinite, (x, y, wide, high))):
        raise ConfigError("context: a shape whose place is no number")
    return x, y, wide, high


def _label(shape: Mapping[str, Any], value: Mapping[str, Any]) -> str | None:
    """The first label that a shape was given."""
    named = value.get(str(shape.get("type"))) or value.get("labels")
    first = named[0] if isinstance(named, list) and named else named
    return first if isinstance(first, str) else None


def _is_on(shape: Mapping[str, Any]) -> bool:
    """Whether a point is on the object; one that says nothing is."""
    return bool(shape.get("is_positive", True))
