"""What several grounders found in one picture, made one: weighted boxes fusion.

Boxes of one class that overlap are one object, whose box is their average, each by its score
(Solovyev et al. 2019, arXiv 1910.13302). Unlike there, two boxes of one grounder are never one: it
has told them apart itself, as it does people in a crowd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from annotate.data.types import Rle
from annotate.ground.base import Candidates

Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """What one grounder found, in plain arrays; row i of every field is one box."""

    boxes: Boxes  # (m, 4) xyxy px
    scores: npt.NDArray[np.float64]  # (m,)
    class_ids: npt.NDArray[np.int64]  # (m,)
    phrases: Sequence[str]
    masks: Sequence[Rle | None]

    @classmethod
    def of(cls, candidates: Candidates) -> Found:
        """Of candidates on any device."""
        boxes, scores, ids = (
            np.asarray(v.cpu() if hasattr(v, "cpu") else v)
            for v in (candidates.boxes_xyxy, candidates.scores, candidates.class_ids)
        )
        masks = candidates.masks if candidates.masks is not None else [None] * len(scores)
        return cls(
            boxes.astype(float).reshape(-1, 4),
            scores.astype(float).reshape(-1),
            ids.astype(np.int64).reshape(-1),
            candidates.phrases,
            masks,
        )


@dataclass(slots=True)
class _Object:
    """Boxes that are one object, the surest first."""

    class_id: int
    rows: list[tuple[int, int]] = field(default_factory=list)  # grounder, and its row


def fused(
    found: Sequence[Candidates],
    weights: Sequence[float],
    *,
    iou: float,
    score: Literal["mean", "best"],
) -> Candidates:
    """What grounders with these weights found, as candidates that several of them share.

    The `mean` score is that of all grounders, of which one that did not find it gives 0; the
    agreement is the share of them, by weight, that found it.
    """
    of_each = [Found.of(candidates) for candidates in found]
    total = sum(weights)
    objects = list(_objects(of_each, weights, iou))
    boxes, scores, agreements = [], [], []
    for one in objects:
        own = np.array([weights[g] for g, _ in one.rows])
        given = np.array([of_each[g].scores[row] for g, row in one.rows])
        at = np.stack([of_each[g].boxes[row] for g, row in one.rows])
        boxes.append(_average(at, own * given))
        scores.append(float((own * given).sum() / total) if score == "mean" else given.max())
        agreements.append(float(own.sum() / total))
    leads = [(of_each[g], row) for one in objects for g, row in one.rows[:1]]
    masks = [_mask(of_each, one) for one in objects]
    return Candidates(
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32),
        class_ids=np.array([one.class_id for one in objects], np.int64),
        phrases=[finder.phrases[row] for finder, row in leads],
        masks=masks if any(mask is not None for mask in masks) else None,
        agreements=np.array(agreements, np.float32),
    )


def _objects(found: Sequence[Found], weights: Sequence[float], iou: float) -> list[_Object]:
    """Boxes in groups of one class, of each grounder one at most."""
    order = sorted(
        ((-weights[g] * s, g, row) for g, f in enumerate(found) for row, s in enumerate(f.scores))
    )
    by_class: dict[int, tuple[list[_Object], list[Boxes]]] = {}
    for _, g, row in order:
        class_id, box = int(found[g].class_ids[row]), found[g].boxes[row]
        objects, boxes = by_class.setdefault(class_id, ([], []))
        overlaps = _iou(box, np.array(boxes).reshape(-1, 4))
        taken = np.array([any(g == other for other, _ in one.rows) for one in objects], bool)
        overlaps[taken] = 0
        if len(overlaps) and overlaps.max() >= iou:
            best = int(overlaps.argmax())
            objects[best].rows.append((g, row))
            rows = objects[best].rows
            at = np.stack([found[k].boxes[r] for k, r in rows])
            by = np.array([weights[k] * found[k].scores[r] for k, r in rows])
            boxes[best] = _average(at, by)
        else:
            objects.append(_Object(class_id, [(g, row)]))
            boxes.append(box)
    return [one for objects, _ in by_class.values() for one in objects]


def _average(boxes: Boxes, weights: npt.NDArray[np.float64]) -> Boxes:
    by = weights if weights.sum() > 0 else np.ones(len(weights))
    return np.asarray((boxes * by[:, None]).sum(0) / by.sum())


def _mask(found: Sequence[Found], one: _Object) -> Rle | None:
    """That of the surest grounder that has one."""
    masks = (found[g].masks[row] for g, row in one.rows)
    return next((mask for mask in masks if mask is not None), None)


def _iou(box: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """Of a box with others (n, 4), (n,)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    whole = float((box[2:] - box[:2]).prod()) + areas - both
    return np.asarray(both / np.maximum(whole, 1e-9))
