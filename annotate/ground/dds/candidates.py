"""Answers to candidates: categories back to classes, boxes and masks to the size of the picture."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np

from annotate.data import geometry
from annotate.data.types import Rle
from annotate.ground.base import Candidates
from annotate.ground.dds.masks import mask_of
from annotate.ground.dds.reply import Found, Result
from annotate.ground.dds.texts import Texts, plain

log = logging.getLogger(__name__)

SAME_PLACE_IOU = 0.9  # of boxes, from which a negative speaks against what stands there


class Reading:
    """Makes candidates of answers, and counts what was left out of them."""

    def __init__(self, *, masks: bool) -> None:
        self._masks = masks
        self._unknown: set[str] = set()
        self.counts: Counter[str] = Counter()

    def candidates(
        self,
        answers: Sequence[tuple[Texts, Result]],
        *,
        sent_hw: tuple[int, int],
        size_hw: tuple[int, int],
        floor: float,
    ) -> Candidates:
        """Of one picture, whose every request has an answer, in their order."""
        scale = np.array(size_hw[::-1] * 2, float) / np.array(sent_hw[::-1] * 2, float)
        boxes: list[list[float]] = []
        scores: list[float] = []
        class_ids: list[int] = []
        phrases: list[str] = []
        masks: list[Rle | None] = []
        for texts, answer in answers:
            for found in answer.objects:
                stands_for = self._stands_for(texts, found)
                rows = [r for r in stands_for if not _outscored(found, r[0], texts, answer)]
                if found.score < floor or not rows:
                    continue
                mask = self._mask(found, sent_hw, size_hw)
                for class_id, phrase in rows:
                    boxes.append((np.array(found.bbox) * scale).tolist())
                    scores.append(found.score)
                    class_ids.append(class_id)
                    phrases.append(phrase)
                    masks.append(mask)
        return Candidates(
            np.array(boxes, float).reshape(-1, 4),
            np.array(scores, float),
            np.array(class_ids, int),
            tuple(phrases),
            tuple(masks) if self._masks else None,
        )

    def _stands_for(self, texts: Texts, found: Found) -> tuple[tuple[int, str], ...]:
        """Classes and phrases. A category that nobody asked for stands for none."""
        category = plain(found.category)
        rows = texts.stands_for.get(category, ())
        if not rows and category not in texts.speaks_against:
            self.counts["boxes of categories nobody asked for"] += 1
            if category not in self._unknown:
                self._unknown.add(category)
                log.warning(
                    "the service found %r, which is not in the class list: left out", found.category
                )
        return rows

    def _mask(self, found: Found, sent_hw: tuple[int, int], size_hw: tuple[int, int]) -> Rle | None:
        if not self._masks or found.mask is None:
            return None
        mask = mask_of(found.mask, sent_hw, size_hw)
        if mask is None:
            self.counts["damaged masks left out, their boxes kept"] += 1
        return mask


def _outscored(found: Found, class_id: int, texts: Texts, answer: Result) -> bool:
    """Whether a negative of the class scores higher in the same place."""
    return any(
        other.score > found.score
        and class_id in texts.speaks_against.get(plain(other.category), ())
        and geometry.box_iou(found.bbox, other.bbox) >= SAME_PLACE_IOU
        for other in answer.objects
    )
