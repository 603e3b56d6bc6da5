"""YOLO with oriented boxes: `class x y x y x y x y`, the smallest rectangle around an instance.

Its corners in order, as Ultralytics has them. Labels may not leave the picture: where a rectangle
does, those of its corners are moved to the edge, which is counted.
"""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import numpy.typing as npt

from annotate.data.polygons import outer_points
from annotate.data.types import Instance
from exporters.yolo_labels import YoloLabels

OUTSIDE_PX = 0.01  # what rounding may take a corner out of a picture


class YoloObb(YoloLabels):
    """Rectangles turned as objects are; there is no place for masks."""

    name = "yolo_obb"
    loading = """
from ultralytics import YOLO

YOLO("yolo11n-obb.pt").train(data="data.yaml")
"""

    def __init__(self) -> None:
        """It has no options."""

    def numbers(self, instance: Instance, not_held: Counter[str]) -> npt.NDArray[np.float64]:
        """See YoloLabels; corners (4, 2)."""
        not_held["mask"] += 1
        h, w = instance.mask.size_hw
        corners = np.divide(smallest_rectangle(outer_points(instance.mask)), [w, h])
        inside: npt.NDArray[np.float64] = np.clip(corners, 0, 1)
        if np.abs(inside - corners).max() * max(h, w) > OUTSIDE_PX:
            not_held["corner outside the picture"] += 1
        return inside


def smallest_rectangle(points_n2: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """The corners (4, 2) of the rectangle of least area around points (n, 2)."""
    hull = cv2.convexHull(points_n2.astype(np.float32))
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float64)
