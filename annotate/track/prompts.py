"""How SAM 2 is told of an object that a track is to follow: by a mask, a box or points.

A point is given as the pixel it lies in, column and row counted from 0: SAM's prompt encoder adds
the half pixel that leads to the pixel's centre (`PromptEncoder._embed_points`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from annotate.models.memory_limit import MemoryLimit
from annotate.segment.base import Prediction
from annotate.segment.video import VideoSegmenter
from annotate.track.tracks import Bools, Floats

POINTS = 3  # per object
ROWS = 64  # masks brought to the model's size at a time, 256 MB of logits at 1024 px


def seed(
    memory: VideoSegmenter, embedding: Any, boxes_k4: Tensor, logits_kss: Tensor, prompt: str
) -> Prediction:
    """Objects detected at boxes (k, 4) xyxy px, segmented as low-resolution logits (k, s, s).

    `prompt` is `mask`, `box` or `point`. Without a memory to be told, they stay as they are.
    """
    if not memory.remembers:
        k = len(logits_kss)
        return Prediction(logits_kss, torch.ones(k), torch.ones(k), torch.zeros(k, 1))
    if prompt == "box":
        return memory.seed_boxes(embedding, boxes_k4)
    if prompt == "mask":
        return memory.seed_masks(embedding, at_side(logits_kss, memory.side))
    masks = at_side(logits_kss, memory.side, never_empty=True).cpu().numpy()
    points = torch.from_numpy(np.stack([inner_points(mask) for mask in masks]))
    labels = torch.ones(points.shape[:2], dtype=torch.int32)
    device = logits_kss.device
    return memory.seed_points(embedding, points.to(device), labels.to(device))


def at_side(logits_kss: Tensor, side: int, *, never_empty: bool = False) -> Tensor:
    """Low-resolution logits (k, s, s) to bool masks (k, side, side), where these are.

    Between samples a mask of few pixels can vanish; with `never_empty` its likeliest pixel stays.
    """

    def grown(rows: Sequence[int]) -> Tensor:
        some = logits_kss[rows[0] : rows[-1] + 1, None]
        up = functional.interpolate(some, (side, side), mode="bilinear")[:, 0]
        masks = up > 0
        if never_empty:
            masks |= up >= up.amax((1, 2), keepdim=True)
        return masks

    passes = MemoryLimit("masks to prompt with").slices(range(len(logits_kss)), grown, most=ROWS)
    return torch.cat(list(passes))


def inner_points(mask_hw: Bools) -> Floats:
    """Pixels (POINTS, 2) xy deep inside a mask, which is not empty, and away from each other."""
    depth = cv2.distanceTransform(np.pad(mask_hw, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    points = []
    for _ in range(POINTS):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((x, y))
        reach = max(int(depth[y, x]), 1)
        around = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        depth[around] = depth[around] / 4
    return np.array(points, np.float32)
