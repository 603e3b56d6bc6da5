"""A detector that looks as the real one does, and finds boxes that were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annotate.data.types import Detections, Frame


class FixedBoxes:
    """Boxes by the index of the frame; every other frame has those of index 0."""

    def __init__(self, detector: Any, boxes: Mapping[int, Any], *, looks: bool = True) -> None:
        """`boxes` (n, 4) xyxy px; if it does not look, grounding takes no time."""
        self._detector, self._boxes, self._looks = detector, boxes, looks

    @property
    def grounder(self) -> Any:
        return self._detector.grounder

    def find(self, frames: Sequence[Frame]) -> list[Detections]:
        """See Detector."""
        if self._looks:
            self._detector.find(frames)
        return [found(self._boxes.get(frame.index, self._boxes[0])) for frame in frames]


def found(boxes_n4: Any) -> Detections:
    """Boxes as detections of the first class."""
    n = len(boxes_n4)
    return Detections(
        boxes_xyxy=np.asarray(boxes_n4, np.float32).reshape(n, 4),
        scores=np.full(n, 0.9, np.float32),
        class_ids=np.zeros(n, np.int32),
        phrases=("thing",) * n,
        margins=np.ones(n, np.float32),
    )


def grid_boxes(count: int, size_hw: tuple[int, int], *, share: float = 0.02) -> Any:
    """Boxes (count, 4) xyxy px on a grid, each with that share of the picture's area."""
    h, w = size_hw
    columns = max(1, round((count * w / h) ** 0.5))
    rows = -(-count // columns)
    side = (share * h * w) ** 0.5
    at = np.arange(count)
    x = (at % columns + 0.5) / columns * w
    y = (at // columns + 0.5) / rows * h
    boxes = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], 1)
    return np.clip(boxes, 0, [w, h, w, h]).astype(np.float32)
