"""Refine a frame's boxes into masks: cleaned, and never out of step with their classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from annotate import geometry
from annotate.checks import in_range
from annotate.models.sam2_image import Sam2Image, upsample_masks
from annotate.types import Detections, Frame, Instance, Rle


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
    """Turns the detections of a frame into instances."""

    def __init__(self, model: Sam2Image, rules: SegmentRules) -> None:
        self._model = model
        self._rules = rules

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]:
        """Instances in the order of the detections; one whose mask is empty is dropped.

        `instance_id` counts the detections, so it does not depend on which masks came out empty.
        """
        instances = []
        for rows, masks, ious in self._masks(frame, found):
            kept = masks.any((1, 2))
            boxes, areas = geometry.mask_boxes(masks[kept]), masks[kept].sum((1, 2))
            counts = geometry.encode_masks(masks[kept])
            for row, box, area, rle, iou in zip(
                rows[kept], boxes, areas, counts, ious[kept], strict=True
            ):
                instances.append(
                    Instance(
                        instance_id=f"{frame.frame_id}:{row}",
                        class_id=int(found.class_ids[row]),
                        phrase=found.phrases[row],
                        score=float(found.scores[row]),
                        box_xyxy=tuple(box.tolist()),
                        mask=Rle(rle, frame.size_hw),
                        area=int(area),
                        mask_score=float(iou),
                    )
                )
        return tuple(instances)

    def _masks(
        self, frame: Frame, found: Detections
    ) -> Iterator[tuple[npt.NDArray[np.intp], geometry.Masks, npt.NDArray[np.float32]]]:
        """(detection rows, cleaned masks (n, h, w), IoU estimates (n,)) in groups that fit."""
        if not len(found):
            return
        h, w = frame.size_hw
        logits, ious = self._model.decode(
            self._model.embed(frame.image), torch.from_numpy(found.boxes_xyxy)
        )
        step = max(1, self._rules.max_pixels // (h * w))
        for start in range(0, len(found), step):
            masks = upsample_masks(logits[start : start + step], (h, w)).cpu().numpy()
            for mask in masks:
                geometry.clean_mask(mask, self._rules.speck_share, self._rules.hole_share)
            yield (
                np.arange(start, start + len(masks)),
                masks,
                ious[start : start + step].cpu().numpy(),
            )
