"""Classes that are after the same objects: groups that suppress as one, parents and children."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from annotate.data.types import ClassList


class Rivals:
    """What the class list says of classes that compete."""

    def __init__(self, classes: ClassList) -> None:
        names = classes.names
        first: dict[str, int] = {}
        groups = [
            first.setdefault(spec.group, n) if spec.group is not None else n
            for n, spec in enumerate(classes.classes)
        ]
        self._group_of = torch.tensor(groups, dtype=torch.long)
        self._above = torch.zeros((len(names), len(names)), dtype=torch.bool)  # [child, parent]
        for child, spec in enumerate(classes.classes):
            parent = spec.parent
            while parent is not None:
                self._above[child, names.index(parent)] = True
                parent = classes.classes[names.index(parent)].parent

    def groups(self, class_ids: Tensor) -> Tensor:
        """(n,) long: equal where boxes that overlap are one object."""
        return self._group_of[class_ids]

    def left_to_parents(
        self, boxes: Tensor, scores: Tensor, class_ids: Tensor, *, iou: float, least: float
    ) -> Tensor:
        """(n,) bool: boxes that no class below theirs has from the score `least` on.

        A child takes a box that overlaps its own by `iou`, whatever the parent's score.
        """
        left = torch.ones(len(boxes), dtype=torch.bool)
        if not self._above.any():
            return left
        children = torch.nonzero((scores >= least) & self._above[class_ids].any(1))[:, 0]
        parents = torch.nonzero(self._above[:, class_ids].any(0))[:, 0]
        if len(children) and len(parents):
            related = self._above[class_ids[children]][:, class_ids[parents]]
            taken = related & (box_iou(boxes[children], boxes[parents]) >= iou)
            left[parents[taken.any(0)]] = False
        return left
