"""Where labels go: beside their objects, inside the frame, off each other and off small objects.

Boxes are xyxy pixels, half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# What a place costs, per label that is covered whole; the cheapest place is taken.
_ON_LABEL: Final = 8.0
_ON_SMALL: Final = 6.0  # per small object that is covered whole
_ON_ITSELF: Final = 1.5
_ON_OTHERS: Final = 1.0
_PER_HEIGHT: Final = 0.4  # of a label, that it is away from its object
_PER_RANK: Final = 0.02
_STAYS: Final = 1.0  # so much better another place must be, before a label of a video moves
_AWAY: Final = (1.0, 2.5, 4.5)  # label heights, where there is no room beside the object


class LabelLayout:
    """Places the labels of a picture, or of a video's pictures one after another.

    In a video a label keeps its side of its object for as long as it can: labels that look for
    the best place in every frame jump about.
    """

    def __init__(self) -> None:
        self._sides: dict[int, int] = {}  # by track
        self.largest_font_px = 1_000  # a font that shrank for a crowd does not grow again

    def place(
        self,
        boxes: Boxes,
        small: npt.NDArray[np.bool_],
        sizes_wh: Boxes,
        frame_hw: tuple[int, int],
        tracks: Sequence[int],
    ) -> Boxes:
        """A box (n, 4) for each label.

        Args:
            boxes: (n, 4), of the objects with their lines.
            small: (n,), which objects a label would hide.
            sizes_wh: (n, 2) of the labels; none is larger than the frame.
            tracks: (n,), the track of each object; 0 for none.
        """
        placed = np.zeros((len(boxes), 4), np.int64)
        done: list[int] = []
        for n in self._order(boxes, tracks):
            places = _places(boxes[n], sizes_wh[n], frame_hw)
            cost = _cost(places, n, boxes, small, placed[done])
            side = int(cost.argmin())
            if (track := tracks[n]) > 0:
                before = self._sides.get(track, side)
                if cost[before] <= cost[side] + _STAYS:
                    side = before
                self._sides[track] = side
            placed[n] = places[side]
            done.append(n)
        return placed

    def _order(self, boxes: Boxes, tracks: Sequence[int]) -> list[int]:
        """Tracks that have their place first, then small objects, which have the least room."""
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

        def key(n: int) -> tuple[bool, int, int]:
            known = tracks[n] in self._sides
            return (not known, tracks[n] if known else int(areas[n]), n)

        return sorted(range(len(boxes)), key=key)


def leader(label: Sequence[int], box: Sequence[int]) -> tuple[int, int, int, int] | None:
    """The line x, y, x, y from a label to its object; None where they touch."""
    xs = _between(label[0], label[2], box[0], box[2])
    ys = _between(label[1], label[3], box[1], box[3])
    if max(abs(xs[0] - xs[1]), abs(ys[0] - ys[1])) <= 1:
        return None
    return xs[0], ys[0], xs[1], ys[1]


def _between(a0: int, a1: int, b0: int, b1: int) -> tuple[int, int]:
    """The nearest places of two spans of pixels; the middle of what they share."""
    if a1 <= b0:
        return a1 - 1, b0
    if b1 <= a0:
        return a0, b1 - 1
    middle = (max(a0, b0) + min(a1, b1) - 1) // 2
    return middle, middle


def _places(box: Boxes, size_wh: Boxes, frame_hw: tuple[int, int]) -> Boxes:
    """Where a label may go, best first (m, 4): around its box, on it, and further away."""
    (x0, y0, x1, y1), (w, h) = box.tolist(), size_wh.tolist()
    corners = [
        (x0, y0 - h), (x0, y1), (x1 - w, y0 - h), (x1 - w, y1),
        (x1, y0), (x0 - w, y0), (x1, y1 - h), (x0 - w, y1 - h),
        (x0, y0), (x0, y1 - h), (x1 - w, y0), (x1 - w, y1 - h),
    ]  # fmt: skip
    middle_x, middle_y = (x0 + x1 - w) // 2, (y0 + y1 - h) // 2
    for heights in _AWAY:
        d = round(heights * h)
        corners += [
            (middle_x, y0 - h - d), (middle_x, y1 + d), (x1 + d, middle_y), (x0 - w - d, middle_y),
            (x1 + d, y0 - h - d), (x1 + d, y1 + d), (x0 - w - d, y0 - h - d), (x0 - w - d, y1 + d),
        ]  # fmt: skip
    # Those that would stick out are moved in.
    most = np.array([frame_hw[1] - w, frame_hw[0] - h])
    top_left = np.clip(np.array(corners, np.int64), 0, np.maximum(most, 0))
    return np.hstack([top_left, top_left + size_wh])


def _cost(
    places: Boxes, own: int, boxes: Boxes, small: npt.NDArray[np.bool_], labels: Boxes
) -> Floats:
    label_area = max(1, int(np.prod(places[0, 2:] - places[0, :2])))
    height = max(1, int(places[0, 3] - places[0, 1]))
    on_boxes = _overlaps(places, boxes)
    areas = np.maximum(1, np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    large = ~small
    large[own] = False
    cost = _ON_LABEL * _overlaps(places, labels).sum(axis=1) / label_area
    cost += _ON_SMALL * (on_boxes[:, small] / areas[small]).sum(axis=1)
    cost += _ON_OTHERS * np.minimum(1, on_boxes[:, large].sum(axis=1) / label_area)
    cost += _ON_ITSELF * on_boxes[:, own] / label_area
    x_gap, y_gap = (
        np.maximum(
            0, np.maximum(boxes[own, k] - places[:, 2 + k], places[:, k] - boxes[own, 2 + k])
        )
        for k in (0, 1)
    )
    cost += _PER_HEIGHT * np.hypot(x_gap, y_gap) / height
    return np.asarray(cost + _PER_RANK * np.arange(len(places)))


def _overlaps(some: Boxes, others: Boxes) -> Floats:
    """Shared area (n, m) of each of n boxes with each of m."""
    sides = [
        np.minimum(some[:, None, 2 + k], others[None, :, 2 + k])
        - np.maximum(some[:, None, k], others[None, :, k])
        for k in (0, 1)
    ]
    shared: Floats = np.maximum(0, sides[0]) * np.maximum(0, sides[1]).astype(np.float64)
    return shared
