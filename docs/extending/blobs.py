"""A grounder: blobs of a colour, told by its name. No weights, so there is nothing to fetch."""

from typing import Annotated

import cv2
import numpy as np

from annotate.data.checks import within
from annotate.errors import PromptError
from annotate.ground.base import Candidates, Grounder

HUES = {"red": 0, "yellow": 30, "green": 60, "cyan": 90, "blue": 120}  # OpenCV's, 0..179


class Blobs(Grounder):
    """Finds regions of one hue; the score is how much of its box a region fills."""

    def __init__(self, *, spread: Annotated[int, within(1, 90)], min_area: int) -> None:
        self._spread, self._min_area = spread, min_area

    def load(self, classes):
        self._wanted = [(c, p) for c, spec in enumerate(classes.classes) for p in spec.phrases]
        if unknown := {p for _, p in self._wanted} - HUES.keys():
            raise PromptError(f"phrase {min(unknown)!r}: no such hue; known are {[*HUES]}")

    def find(self, images, floor):
        return [self._find(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)) for image in images]

    def _find(self, hsv):
        rows = [(*r, c, p) for c, p in self._wanted for r in self._regions(hsv, HUES[p])]
        boxes, scores, classes, phrases = zip(*rows, strict=True) if rows else [()] * 4
        return Candidates(np.array(boxes).reshape(-1, 4), scores, classes, phrases)

    def _regions(self, hsv, hue):
        away = np.abs((hsv[..., 0].astype(int) - hue + 90) % 180 - 90)
        mask = (away < self._spread) & (hsv[..., 1] > 120) & (hsv[..., 2] > 80)
        for x, y, w, h, area in cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:]:
            if area >= self._min_area:
                yield (x, y, x + w, y + h), area / (w * h)
