"""Boxes to masks: cleaned, cut to frame size, and never out of step with their classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annotate.data import geometry
from annotate.data.checks import in_range
from annotate.data.types import Detections, Frame, Instance, Rle
from annotate.segment.sam2 import Sam2Image, upsample_masks


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """How raw masks are cleaned; see `segment:` in conf/config.yaml."""

    speck_share: float
    hole_share: float
    max_pixels: int

    def __post_init__(self) -> None:
        in_range("segment.speck_share", self.speck_share, 0, 1)
        in_range("segment.hole_share", self.hole_share, 0, 1)
        in_range("segment.max_pixels", self.max_pixels, 1)


class Segmenter:
    """Turns the detections of a still into instances."""

    def __init__(self, model: Sam2Image, rules: SegmentRules) -> None:
        self._model = model
        self._rules = rules

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]:
        """Instances in the order of the detections; one whose mask is empty is dropped.

        `instance_id` counts the detections, so it does not depend on which masks came out empty.
        """
        if not len(found):
            return ()
        embedding = self._model.embed(frame.image)
        logits, ious = self._model.decode(embedding, torch.from_numpy(found.boxes_xyxy))
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
            for row, cut in cut_masks(logits, frame.size_hw, self._rules)
        )


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
    logits_kss: Tensor, size_hw: tuple[int, int], rules: SegmentRules
) -> Iterator[tuple[int, Cut]]:
    """Low-resolution logits (k, s, s) to (row, cleaned mask at frame size), empty ones left out.

    Full-size masks exist for a few rows at a time, as many as `max_pixels` allows.
    """
    h, w = size_hw
    step = max(1, rules.max_pixels // (h * w))
    for start in range(0, len(logits_kss), step):
        masks = upsample_masks(logits_kss[start : start + step], size_hw).cpu().numpy()
        for mask in masks:
            geometry.clean_mask(mask, rules.speck_share, rules.hole_share)
        rows = np.flatnonzero(masks.any((1, 2)))
        boxes, areas = geometry.mask_boxes(masks[rows]), masks[rows].sum((1, 2))
        for row, box, area, counts in zip(
            rows, boxes, areas, geometry.encode_masks(masks[rows]), strict=True
        ):
            yield start + int(row), Cut(Rle(counts, size_hw), tuple(box.tolist()), int(area))
