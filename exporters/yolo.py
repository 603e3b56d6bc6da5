"""YOLO detection: `class x y w h`, the box of an instance by its centre and sides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from annotate.data.types import Instance
from exporters.yolo_labels import YoloLabels


class Yolo(YoloLabels):
    """Boxes; there is no place for masks."""

    name = "yolo"
    promised_iou = 1.0
    loading = """
from ultralytics import YOLO

YOLO("yolo11n.pt").train(data="data.yaml")
"""

    def __init__(self) -> None:
        """It has no options."""

    def numbers(self, instance: Instance, not_held: Counter[str]) -> npt.NDArray[np.float64]:
        """See YoloLabels; centre and sides (4,)."""
        not_held["mask"] += 1
        h, w = instance.mask.size_hw
        x0, y0, x1, y1 = instance.box_xyxy
        return np.array([(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h])
