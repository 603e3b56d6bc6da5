"""Ground a class list in frames: captions that fit the model, phrase scores to class detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from annotate.data.checks import in_range, one_of
from annotate.data.types import ClassList, Detections, Image
from annotate.errors import PromptError
from annotate.ground.grounding_dino import Caption, GroundingDino
from annotate.models.memory_limit import Backoff


@dataclass(frozen=True, slots=True)
class GroundRules:
    """Which of the model's boxes become detections; see `ground:` in conf/config.yaml."""

    floor: float
    pooling: str
    nms_iou: float
    cross_class_iou: float
    max_detections: int

    def __post_init__(self) -> None:
        in_range("ground.floor", self.floor, 0, 1)
        in_range("ground.nms_iou", self.nms_iou, 0, 1)
        in_range("ground.cross_class_iou", self.cross_class_iou, 0, 1)
        in_range("ground.max_detections", self.max_detections, 1)
        one_of("ground.pooling", self.pooling, ("mean", "max"))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One caption and what its phrases stand for; tensors have one row per phrase."""

    caption: Caption
    phrases: tuple[str, ...]
    owners: Tensor  # (p,) class id
    negative: Tensor  # (p,) bool: the phrase speaks against its class


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The (query, class) pairs of one chunk on one image that reach the floor."""

    boxes: Tensor  # (m, 4) xyxy shares of the frame
    scores: Tensor  # (m,)
    class_ids: Tensor  # (m,)
    phrases: list[str]  # (m,) the one that scored best


class Grounder:
    """Finds the classes of one class list in images."""

    def __init__(
        self,
        model: GroundingDino,
        classes: ClassList,
        rules: GroundRules,
        *,
        at_once: Backoff | None = None,
    ) -> None:
        """`at_once` limits the images of a forward.

        Raises PromptError when a class does not fit the model's token budget.
        """
        self._model = model
        self._rules = rules
        self._at_once = at_once or Backoff("images")
        self._chunks = [_chunk(model, classes, ids) for ids in split_classes(model, classes)]

    def find(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, the best first; images of one model shape share a forward.

        Raises MemoryError when one image alone is too much.
        """
        prepared = [self._model.prepare(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, pixels in enumerate(prepared):
            by_shape[tuple(pixels.shape)].append(index)
        found: dict[int, Detections] = {}

        def score(indices: Sequence[int]) -> None:
            batch = torch.stack([prepared[i] for i in indices])
            scored = [(chunk, *self._model.score(batch, chunk.caption)) for chunk in self._chunks]
            for row, index in enumerate(indices):
                candidates = [
                    _candidates(chunk, boxes[row], scores[row], self._rules.floor)
                    for chunk, boxes, scores in scored
                ]
                found[index] = self._select(candidates, images[index].shape[:2])

        for indices in by_shape.values():
            list(self._at_once.slices(indices, score))
        return [found[i] for i in range(len(images))]

    def _select(self, candidates: Sequence[_Candidates], size_hw: tuple[int, ...]) -> Detections:
        h, w = size_hw
        shares = torch.cat([c.boxes for c in candidates]).clamp(0, 1)
        boxes = shares * torch.tensor([w, h, w, h], device=shares.device)
        scores = torch.cat([c.scores for c in candidates])
        classes = torch.cat([c.class_ids for c in candidates])
        phrases = [phrase for c in candidates for phrase in c.phrases]
        # Half a pixel is the least that can hold a pixel's centre.
        rows = ((boxes[:, 2:] - boxes[:, :2]).amin(1) >= 0.5).nonzero()[:, 0]
        rows = rows[batched_nms(boxes[rows], scores[rows], classes[rows], self._rules.nms_iou)]
        rows = rows[nms(boxes[rows], scores[rows], self._rules.cross_class_iou)]
        rows = rows[: self._rules.max_detections]
        rivals = box_iou(boxes[rows], boxes) >= self._rules.cross_class_iou
        rivals &= classes[rows, None] != classes
        best_other = torch.where(rivals, scores, 0).amax(1) if len(scores) else scores
        return Detections(
            boxes_xyxy=boxes[rows].cpu().numpy(),
            scores=scores[rows].cpu().numpy(),
            class_ids=classes[rows].cpu().numpy().astype(np.int32),
            phrases=tuple(phrases[i] for i in rows.tolist()),
            margins=(scores[rows] - best_other).cpu().numpy(),
        )


def split_classes(model: GroundingDino, classes: ClassList) -> list[list[int]]:
    """Class ids in as few captions as the token budget allows, evenly filled.

    Scores depend a little on what else is in the caption, so captions of like length treat the
    classes alike; a class is never divided. Raises PromptError when one alone is too long.
    """
    costs = []
    for spec in classes.classes:
        phrases = (*spec.phrases, *spec.negatives)
        costs.append(sum(len(model.tokenize(p)) + 1 for p in phrases))
        if costs[-1] > model.token_budget:
            raise PromptError(
                f"class {spec.name!r}: its {len(phrases)} phrases take {costs[-1]} tokens, more "
                f"than the model's {model.token_budget}; give it fewer or shorter phrases"
            )
    fewest = len(_fill(costs, model.token_budget))
    low, high = max(costs), model.token_budget
    while low < high:  # the smallest cap that still needs no further caption
        cap = (low + high) // 2
        low, high = (low, cap) if len(_fill(costs, cap)) <= fewest else (cap + 1, high)
    return _fill(costs, low)


def _fill(costs: Sequence[int], cap: int) -> list[list[int]]:
    chunks: list[list[int]] = []
    room = 0
    for class_id, cost in enumerate(costs):
        if not chunks or cost > room:
            chunks.append([])
            room = cap
        chunks[-1].append(class_id)
        room -= cost
    return chunks


def _chunk(model: GroundingDino, classes: ClassList, class_ids: Sequence[int]) -> _Chunk:
    rows = [
        (phrase, class_id, negative)
        for class_id in class_ids
        for negative, phrases in (
            (False, classes.classes[class_id].phrases),
            (True, classes.classes[class_id].negatives),
        )
        for phrase in phrases
    ]
    phrases, owners, negative = zip(*rows, strict=True)
    device = model.device
    return _Chunk(
        caption=model.caption(phrases),
        phrases=phrases,
        owners=torch.tensor(owners, device=device),
        negative=torch.tensor(negative, device=device),
    )


def _candidates(chunk: _Chunk, boxes_q4: Tensor, scores_qp: Tensor, floor: float) -> _Candidates:
    """Pool phrases into classes: the best synonym counts, unless a negative scores higher."""
    first = int(chunk.owners.min())
    classes = int(chunk.owners.max()) - first + 1
    owner = (chunk.owners - first).expand_as(scores_qp)
    empty = scores_qp.new_zeros(len(scores_qp), classes)
    found = empty.scatter_reduce(1, owner, scores_qp.masked_fill(chunk.negative, 0), "amax")
    against = empty.scatter_reduce(1, owner, scores_qp.masked_fill(~chunk.negative, 0), "amax")
    query, local = ((found >= floor) & (found > against)).nonzero(as_tuple=True)
    class_ids = local + first
    others = (chunk.owners != class_ids[:, None]) | chunk.negative
    best = scores_qp[query].masked_fill(others, -1).argmax(1)
    return _Candidates(
        boxes=boxes_q4[query],
        scores=found[query, local],
        class_ids=class_ids,
        phrases=[chunk.phrases[i] for i in best.tolist()],
    )
