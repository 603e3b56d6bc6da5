"""Boxes to masks: cleaned, cut to frame size, and never out of step with their classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain
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
        self._pictures, self._masks = MemoryLimit("pictures"), MemoryLimit("masks")

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]:
        """Instances in the order of the detections; one whose mask is empty is dropped.

        `instance_id` counts the detections, so it does not depend on which masks came out empty.
        Raises MemoryError when the picture, one box or one mask alone is too much.
        """
        if not len(found):
            return ()
        scores, cuts = self._cut(frame, found)
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
                agreement=None if found.agreements is None else float(found.agreements[row]),
            )
            for row, cut in cuts
        )

    def _cut(
        self, frame: Frame, found: Detections
    ) -> tuple[npt.NDArray[np.float32], Iterator[tuple[int, Cut]]]:
        """The estimates (k,) of the segmenter, and the finished masks by their rows.

        A mask that the grounder found is taken as it is, with the estimate 1.
        """
        given = found.masks or (None,) * len(found)
        asked = [row for row, mask in enumerate(given) if mask is None]
        estimates = np.ones(len(found), np.float32)
        cuts: Iterator[tuple[int, Cut]] = iter(())
        boxes = found.boxes_xyxy[asked]
        if asked and self._segmenter.boxes_only:
            cuts = cut_boxes(boxes, frame.size_hw)
        elif asked:
            (embedding,) = self._pictures.alone(lambda: self._segmenter.embed([frame.image]))
            made = decode(self._segmenter, embedding, torch.from_numpy(boxes), self._at_once)
            estimates[asked] = made[1].cpu().numpy()
            cuts = cut_masks(made[0], frame.size_hw, self._settings, self._masks)
        own = ((asked[n], cut) for n, cut in cuts)
        return estimates, merge(own, cut_given(given), key=lambda found: found[0])


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


def cut_boxes(
    boxes_xyxy: Iterable[npt.NDArray[np.float32]], size_hw: tuple[int, int]
) -> Iterator[tuple[int, Cut]]:
    """Boxes px as masks, by their rows; the box of each stays as it is, to the last digit."""
    for row, box in enumerate(boxes_xyxy):
        x0, y0, x1, y1 = (float(v) for v in box)
        counts, area = geometry.encode_box((x0, y0, x1, y1), size_hw)
        yield row, Cut(Rle(counts, size_hw), (x0, y0, x1, y1), area)


def cut_given(masks: Iterable[Rle | None]) -> Iterator[tuple[int, Cut]]:
    """Masks that are there already, by their rows, empty ones left out."""
    for row, mask in enumerate(masks):
        if mask is not None and (pixels := mask.decode()).any():
            (box,) = geometry.mask_boxes(pixels[None])
            yield row, Cut(mask, tuple(box.tolist()), int(pixels.sum()))


def cut_masks(
    logits_kss: Tensor,
    size_hw: tuple[int, int],
    settings: SegmentSettings,
    at_once: MemoryLimit | None = None,
) -> Iterator[tuple[int, Cut]]:
    """Low-resolution logits (k, s, s) to (row, cleaned mask at frame size), empty ones left out.

    Full-size masks exist for a few rows at a time, as many as `max_pixels` and memory, which
    `at_once` knows, allow. Raises MemoryError when one mask alone is too much.
    """
    h, w = size_hw

    def cut(rows: Sequence[int]) -> list[tuple[int, Cut]]:
        return list(_cut(logits_kss, rows, size_hw, settings))

    passes = (at_once or MemoryLimit("masks")).slices(
        range(len(logits_kss)), cut, most=max(1, settings.max_pixels // (h * w))
    )
    return chain.from_iterable(passes)


def _cut(
    logits_kss: Tensor, rows: Sequence[int], size_hw: tuple[int, int], settings: SegmentSettings
) -> Iterator[tuple[int, Cut]]:
    masks = upsample_masks(logits_kss[rows[0] : rows[-1] + 1], size_hw).cpu().numpy()
    for mask in masks:
        geometry.clean_mask(mask, settings.speck_share, settings.hole_share)
    filled = np.flatnonzero(masks.any((1, 2)))
    boxes, areas = geometry.mask_boxes(masks[filled]), masks[filled].sum((1, 2))
    for row, box, area, counts in zip(
        filled, boxes, areas, geometry.encode_masks(masks[filled]), strict=True
    ):
        yield rows[int(row)], Cut(Rle(counts, size_hw), tuple(box.tolist()), int(area))


def upsample_masks(logits_kss: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Low-resolution logits (k, s, s) to bool masks (k, h, w) at frame size."""
    return (
        functional.interpolate(logits_kss[:, None], size_hw, mode="bilinear", align_corners=False)[
            :, 0
        ]
        > 0
    )
