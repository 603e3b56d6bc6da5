"""Boxes to masks: cleaned, cut to frame size, and never out of step with their classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from annotate.config.settings import SegmentSettings
from annotate.data import geometry
from annotate.data.types import Detections, Frame, Instance, Rle
from annotate.models.memory_limit import MemoryLimit
from annotate.segment.base import Segmenter


class Masker:
    """A segmenter with what is made of its logits, for the detections of stills."""

    def __init__(
        self, segmenter: Segmenter, settings: SegmentSettings, *, at_once: MemoryLimit | None = None
    ) -> None:
        """`at_once` limits the boxes that the segmenter sees together."""
        self._segmenter = segmenter
        self._settings = settings
        self._at_once = at_once or MemoryLimit("boxes")

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]:
        """Instances in the order of the detections; one whose mask is empty is dropped.

        `instance_id` counts the detections, so it does not depend on which masks came out empty.
        """
        if not len(found):
            return ()
        (embedding,) = self._segmenter.embed([frame.image])
        boxes = torch.from_numpy(found.boxes_xyxy)
        logits, ious = decode(self._segmenter, embedding, boxes, self._at_once)
        scores = ious.cpu().numpy()
        return tuple(
            Instance(
                instance_id=f"{frame.frame_id}:{row}",
                class_id=int(found.class_ids[row]),
                phrase=found.phrases[row],
                score=float(found.scores[row]),
                box_xyxy=cut.box_xyxy,
                mask=cut.mask,
                area=cut.area,
                mask_score=float(scores[row]),
                margin=float(found.margins[row]),
                box_iou=cut.iou_with(found.boxes_xyxy[row]),
            )
            for row, cut in cut_masks(logits, frame.size_hw, self._settings)
        )


def decode(
    segmenter: Segmenter, embedding: Any, boxes_k4: Tensor, at_once: MemoryLimit
) -> tuple[Tensor, Tensor]:
    """Mask logits (k, a, b) and IoU estimates (k,) of boxes (k >= 1, 4), some at a time.

    Raises MemoryError when one box alone is too much.
    """
    passes = at_once.slices(
        range(len(boxes_k4)), lambda rows: segmenter.decode(embedding, boxes_k4[list(rows)])
    )
    logits, ious = zip(*passes, strict=True)
    return torch.cat(logits), torch.cat(ious)


@dataclass(frozen=True, slots=True)
class Cut:
    """A finished mask with what follows from it."""

    mask: Rle
    box_xyxy: tuple[float, float, float, float]
    area: int

    def iou_with(self, box_xyxy: npt.NDArray[np.float32]) -> float:
        """Of the mask's box with another one (4,), px."""
        return geometry.box_iou(self.box_xyxy, box_xyxy.tolist())


def cut_masks(
    logits_kss: Tensor, size_hw: tuple[int, int], settings: SegmentSettings
) -> Iterator[tuple[int, Cut]]:
    """Low-resolution logits (k, s, s) to (row, cleaned mask at frame size), empty ones left out.

    Full-size masks exist for a few rows at a time, as many as `max_pixels` allows.
    """
    h, w = size_hw
    step = max(1, settings.max_pixels // (h * w))
    for start in range(0, len(logits_kss), step):
        masks = upsample_masks(logits_kss[start : start + step], size_hw).cpu().numpy()
        for mask in masks:
            geometry.clean_mask(mask, settings.speck_share, settings.hole_share)
        rows = np.flatnonzero(masks.any((1, 2)))
        boxes, areas = geometry.mask_boxes(masks[rows]), masks[rows].sum((1, 2))
        for row, box, area, counts in zip(
            rows, boxes, areas, geometry.encode_masks(masks[rows]), strict=True
        ):
            yield start + int(row), Cut(Rle(counts, size_hw), tuple(box.tolist()), int(area))


def upsample_masks(logits_kss: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Low-resolution logits (k, s, s) to bool masks (k, h, w) at frame size."""
    return (
        functional.interpolate(logits_kss[:, None], size_hw, mode="bilinear", align_corners=False)[
            :, 0
        ]
        > 0
    )
