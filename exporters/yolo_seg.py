"""YOLO segmentation: `class x y x y ...`, the outline of an instance as one ring.

Holes and parts are joined into that ring by bridges without width.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.polygons import count_loss, joined_ring
from annotate.data.types import Instance
from exporters.yolo_labels import YoloLabels


class YoloSeg(YoloLabels):
    """`tolerance` is how far a ring may leave the mask's edge, in px."""

    name = "yolo_seg"
    loading = """
from ultralytics import YOLO

YOLO("yolo11n-seg.pt").train(data="data.yaml")
"""

    def __init__(self, *, tolerance: Annotated[FiniteFloat, within(0)]) -> None:
        self.tolerance = tolerance

    def numbers(self, instance: Instance, not_held: Counter[str]) -> npt.NDArray[np.float64]:
        """See YoloLabels; vertices (n, 2)."""
        h, w = instance.mask.size_hw
        ring, iou = joined_ring(instance.mask, self.tolerance)
        count_loss(iou, not_held)
        return np.divide(ring, [w, h])
