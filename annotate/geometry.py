"""Boxes, masks and run lengths on numpy arrays: no torch, no files."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Boxes = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


def encode_masks(masks_nhw: Masks) -> list[str]:
    """Bool masks (n, h, w) to COCO compressed RLE counts, one ASCII string each."""
    if len(masks_nhw) == 0:
        return []
    # pycocotools reads column-major (h, w, n), which a C-ordered (n, w, h) copy is when transposed.
    by_column = np.ascontiguousarray(masks_nhw.transpose(0, 2, 1)).view(np.uint8)
    rles = coco_mask.encode(by_column.transpose(2, 1, 0))
    return [rle["counts"].decode("ascii") for rle in rles]


def decode_masks(counts: Sequence[str], size_hw: tuple[int, int]) -> Masks:
    """COCO compressed RLE counts of one frame to bool masks (n, h, w)."""
    if not counts:
        return np.zeros((0, *size_hw), bool)
    rles = [{"counts": c.encode("ascii"), "size": list(size_hw)} for c in counts]
    masks: npt.NDArray[np.uint8] = coco_mask.decode(rles)
    return masks.transpose(2, 0, 1).astype(bool)


def mask_boxes(masks_nhw: Masks) -> Boxes:
    """Tight half-open boxes (n, 4) xyxy of bool masks (n, h, w); an empty mask gives zeros."""
    n, h, w = masks_nhw.shape
    if n == 0:
        return np.zeros((0, 4), np.float32)
    rows, columns = np.asarray(masks_nhw.any(axis=2)), np.asarray(masks_nhw.any(axis=1))
    edges = (
        columns.argmax(1),
        rows.argmax(1),
        w - columns[:, ::-1].argmax(1),
        h - rows[:, ::-1].argmax(1),
    )
    filled = np.asarray(rows.any(axis=1))
    return np.asarray(np.stack(edges, axis=1) * filled[:, None], np.float32)


def paired_iou(boxes: Boxes, others: Boxes) -> npt.NDArray[np.float32]:
    """IoU (n,) of each box (n, 4) xyxy with the other in its row; 0 where both are empty."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    both = (high - low).clip(0).prod(1)
    total = sum((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, others)) - both
    return np.asarray(both / np.maximum(total, 1e-6), np.float32)


def clean_mask(mask_hw: npt.NDArray[np.bool_], speck_share: float, hole_share: float) -> None:
    """Remove specks and fill pin-holes of one bool mask (h, w) in place.

    A detached part is a speck, and a hole a pin-hole, when its area is below the given share of the
    mask's area; the largest part always stays. Parts touch by 8 neighbours, holes by 4.
    """
    rows, cols = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    if not len(rows):
        return
    crop = mask_hw[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    area = int(crop.sum())
    if area == crop.size:
        return
    _, labels, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
    sizes = stats[:, cv2.CC_STAT_AREA]
    sizes[0] = area  # the background is no speck
    specks = sizes < speck_share * area
    specks[1 + sizes[1:].argmax()] = False
    if specks.any():
        crop[specks[labels]] = False
    # A border of background joins all that is open to the outside into one region.
    outside = np.pad(~crop, 1, constant_values=True).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    if count > 2:
        pins = stats[:, cv2.CC_STAT_AREA] < hole_share * area
        pins[[0, labels[0, 0]]] = False
        crop[pins[labels[1:-1, 1:-1]]] = True
