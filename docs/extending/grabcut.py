"""A segmenter: OpenCV's GrabCut. It has no memory: in videos, overlap tells who is who."""

from typing import Annotated

import cv2
import numpy as np
import torch

from annotate.data.checks import within
from annotate.segment.base import Segmenter


class GrabCut(Segmenter):
    """Separates what is inside a box from what is around it (Rother et al., 2004)."""

    def __init__(self, *, rounds: Annotated[int, within(1)]) -> None:
        self._rounds = rounds

    def load(self):
        """Nothing to be loaded."""

    def embed(self, images):
        return list(images)

    def decode(self, image, boxes):
        masks = np.stack([self._cut(image, box) for box in boxes.numpy().round().astype(int)])
        return torch.from_numpy(masks).float() * 2 - 1, torch.ones(len(masks))

    def _cut(self, image, box):
        x0, y0, x1, y1 = np.clip(box, 0, [*image.shape[1::-1]] * 2).tolist()
        labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
        labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
        if (labels == cv2.GC_BGD).any() and (labels == cv2.GC_PR_FGD).any():
            cv2.setRNGSeed(0)  # no mask may depend on those before it
            state = np.zeros((2, 1, 65))
            cv2.grabCut(image, labels, None, *state, self._rounds, cv2.GC_INIT_WITH_MASK)
        return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
