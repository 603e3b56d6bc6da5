"""How SAM 2 is told of an object that a track is to follow: by a mask, a box or points."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from annotate.segment.base import Embedding, Prediction
from annotate.segment.video import VideoSegmenter
from annotate.track.tracks import Bools, Floats

POINTS = 3  # per object


def seed(
    memory: VideoSegmenter, embedding: Embedding, boxes_k4: Tensor, logits_kss: Tensor, prompt: str
) -> Prediction:
    """Objects detected at boxes (k, 4) xyxy px, segmented as low-resolution logits (k, s, s).

    `prompt` is `mask`, `box` or `point`.
    """
    if prompt == "box":
        return memory.seed_boxes(embedding, boxes_k4)
    side = memory.side
    masks = (
        functional.interpolate(logits_kss[:, None], (side, side), mode="bilinear")[:, 0] > 0
    )  # (k, side, side)
    if prompt == "mask":
        return memory.seed_masks(embedding, masks)
    points = np.stack([inner_points(mask) for mask in masks.cpu().numpy()])
    labels = torch.ones(points.shape[:2], dtype=torch.int32, device=masks.device)
    return memory.seed_points(embedding, torch.from_numpy(points).to(masks.device), labels)


def inner_points(mask_hw: Bools) -> Floats:
    """Points (POINTS, 2) xy deep inside a mask and away from each other."""
    depth = cv2.distanceTransform(np.pad(mask_hw, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    points = []
    for _ in range(POINTS):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((x + 0.5, y + 0.5))
        reach = max(int(depth[y, x]), 1)
        around = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        depth[around] = depth[around] / 4
    return np.array(points, np.float32)
