"""Candidates to detections, the same way for every grounder: floor, NMS, margins, the best ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou, nms

from annotate.config.settings import GroundSettings
from annotate.data.types import ClassList, Detections, Frame
from annotate.ground.base import Candidates, Grounder
from annotate.ground.rivals import Rivals
from annotate.models.memory_limit import MemoryLimit

LEAST_SIDE_PX = 0.5  # of a box that can hold a pixel's centre


class Detector:
    """A grounder that was given its classes, and what is made of its candidates."""

    def __init__(
        self,
        grounder: Grounder,
        settings: GroundSettings,
        classes: ClassList | None = None,
        *,
        at_once: MemoryLimit | None = None,
    ) -> None:
        """`classes` say which of them are rivals; `at_once` limits pictures seen together."""
        self._grounder = grounder
        self._rivals = Rivals(classes) if classes is not None else None
        self._settings = settings
        self._at_once = at_once or MemoryLimit("images")

    @property
    def grounder(self) -> Grounder:
        return self._grounder

    def find(self, frames: Sequence[Frame]) -> list[Detections]:
        """Detections in each frame, the best first; frames of one size share a pass.

        Raises MemoryError when one picture alone is too much; MediaError and ServiceError as the
        grounder does.
        """
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, frame in enumerate(frames):
            by_size[frame.size_hw].append(index)
        found: dict[int, Detections] = {}

        def ground(indices: Sequence[int]) -> None:
            some = [frames[i] for i in indices]
            of_each = self._grounder.find_in(some, self._settings.floor)
            for index, frame, candidates in zip(indices, some, of_each, strict=True):
                found[index] = select(candidates, frame.size_hw, self._settings, self._rivals)

        for indices in by_size.values():
            list(self._at_once.slices(indices, ground))
        return [found[i] for i in range(len(frames))]


def select(
    candidates: Candidates,
    size_hw: tuple[int, ...],
    settings: GroundSettings,
    rivals: Rivals | None = None,
) -> Detections:
    """The candidates of a picture of this size that are detections, the best first.

    Of boxes of one class, or group, that overlap the best stays, and of nearly equal boxes of
    several classes. Parents have what their children leave.
    """
    h, w = size_hw
    cpu = torch.device("cpu")  # in one order, whatever the device; candidates are few
    boxes = torch.as_tensor(candidates.boxes_xyxy, dtype=torch.float32, device=cpu).reshape(-1, 4)
    edge = boxes.new_tensor([w, h, w, h])
    boxes = torch.minimum(boxes.clamp(min=0), edge)
    scores = torch.as_tensor(candidates.scores, dtype=torch.float32, device=cpu)
    classes = torch.as_tensor(candidates.class_ids, device=cpu).long()
    high_enough = scores >= settings.floor
    large_enough = (boxes[:, 2:] - boxes[:, :2]).amin(1) >= LEAST_SIDE_PX
    rows = (high_enough & large_enough).nonzero()[:, 0]
    # Classes are kept apart by moving each one's boxes past the picture. In float32 the boxes of
    # class 1,000 would then stand on whole pixels; in float64 they lose a billionth of one.
    if rivals is not None:
        found = boxes[rows], scores[rows], classes[rows]
        left = rivals.left_to_parents(*found, iou=settings.nms_iou, least=settings.child_from)
        rows = rows[left]
    groups = classes[rows] if rivals is None else rivals.groups(classes[rows])
    apart = boxes[rows].double(), scores[rows].double()
    rows = rows[batched_nms(*apart, groups, settings.nms_iou)]
    rows = rows[nms(boxes[rows], scores[rows], settings.cross_class_iou)]
    rows = rows[: settings.max_detections]
    same_place = box_iou(boxes[rows], boxes) >= settings.cross_class_iou
    same_place &= classes[rows, None] != classes
    masks, agreements = candidates.masks, candidates.agreements
    best_other = torch.where(same_place, scores, 0).amax(1) if len(scores) else scores
    return Detections(
        boxes_xyxy=boxes[rows].numpy(),
        scores=scores[rows].numpy(),
        class_ids=classes[rows].numpy().astype(np.int32),
        phrases=tuple(candidates.phrases[i] for i in rows.tolist()),
        margins=(scores[rows] - best_other).numpy(),
        masks=None if masks is None else tuple(masks[row] for row in rows.tolist()),
        agreements=None if agreements is None else np.asarray(agreements, np.float32)[rows.numpy()],
    )
