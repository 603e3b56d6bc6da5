"""Boxes, masks and run lengths on numpy arrays: no torch, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Boxes = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


def encode_masks(masks_nhw: Masks) -> list[str]:
    """Bool masks (n, h, w) to COCO compressed RLE counts, one ASCII string each."""
    if len(masks_nhw) == 0:
        return []
    # pycocotools reads column-major (h, w, n); transposing a C-ordered (n, w, h) copy gives just that.
    by_column = np.ascontiguousarray(masks_nhw.transpose(0, 2, 1)).view(np.uint8)
    rles = coco_mask.encode(by_column.transpose(2, 1, 0))
    return [rle["counts"].decode("ascii") for rle in rles]


def decode_masks(counts: Sequence[str], size_hw: tuple[int, int]) -> Masks:
    """COCO compressed RLE counts of one frame to bool masks (n, h, w)."""
    if not counts:
        return np.zeros((0, *size_hw), bool)
    rles = [{"counts": c.encode("ascii"), "size": list(size_hw)} for c in counts]
    return cast(Any, coco_mask.decode(rles)).transpose(2, 0, 1).astype(bool)


def mask_boxes(masks_nhw: Masks) -> Boxes:
    """Tight half-open boxes (n, 4) xyxy of bool masks (n, h, w); an empty mask gives zeros."""
    n, h, w = masks_nhw.shape
    rows, cols = masks_nhw.any(2), masks_nhw.any(1)
    boxes = np.stack(
        [
            cols.argmax(1),
            rows.argmax(1),
            w - cols[:, ::-1].argmax(1),
            h - rows[:, ::-1].argmax(1),
        ],
        axis=1,
    ) if n else np.zeros((0, 4))
    return (boxes * rows.any(1)[:, None]).astype(np.float32) if n else boxes.astype(np.float32)
