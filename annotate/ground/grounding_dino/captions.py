"""A class list in captions that fit the model, and candidates of all of them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from annotate.data.types import ClassList, Image
from annotate.errors import PromptError
from annotate.ground.base import Candidates
from annotate.ground.grounding_dino.scorer import PhraseScorer
from annotate.ground.phrases import Phrases
from annotate.ground.prompt_budget import evenly_filled
from annotate.models.transfer import to_host


class Captions:
    """Finds the classes of one class list with a scorer of phrases."""

    def __init__(
        self, scorer: PhraseScorer, classes: ClassList, *, classes_at_once: int | None = None
    ) -> None:
        """`classes_at_once`: in one caption, at most; None: as many as its tokens allow.

        Raises PromptError when a class does not fit the model's token budget.
        """
        self._scorer = scorer
        self.chunks = [
            Phrases.of(classes, ids) for ids in split_classes(scorer, classes, classes_at_once)
        ]
        self._captions = [scorer.caption(chunk.texts) for chunk in self.chunks]

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """Candidates of pictures, which may differ in size; those of one shape share a pass."""
        prepared = [self._scorer.prepare(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, pixels in enumerate(prepared):
            by_shape[tuple(pixels.shape)].append(index)
        found: dict[int, Candidates] = {}
        for indices in by_shape.values():
            batch = torch.stack([prepared[i] for i in indices])
            made = [self._scorer.score(batch, caption) for caption in self._captions]
            host = iter(to_host(*chain.from_iterable(made)))
            scored = list(zip(host, host, strict=True))
            for row, index in enumerate(indices):
                of_image = [(boxes[row], scores[row]) for boxes, scores in scored]
                found[index] = self._joined(of_image, images[index].shape[:2], floor)
        return [found[i] for i in range(len(images))]

    def _joined(
        self, scored: Sequence[tuple[Tensor, Tensor]], size_hw: tuple[int, ...], floor: float
    ) -> Candidates:
        """Boxes (q, 4) as shares and phrase scores (q, p) of each chunk, as candidates in px.

        All in main memory.
        """
        rows = [
            (boxes_q4, *chunk.best(scores_qp, floor))
            for chunk, (boxes_q4, scores_qp) in zip(self.chunks, scored, strict=True)
        ]
        shares = torch.cat([boxes[query] for boxes, query, *_ in rows]).clamp(0, 1)
        h, w = size_hw
        return Candidates(
            boxes_xyxy=shares * torch.tensor([w, h, w, h]),
            scores=torch.cat([scores for _, _, scores, _, _ in rows]),
            class_ids=torch.cat([class_ids for *_, class_ids, _ in rows]),
            phrases=[text for *_, texts in rows for text in texts],
        )


def split_classes(
    scorer: PhraseScorer, classes: ClassList, at_once: int | None = None
) -> list[list[int]]:
    """Class ids caption by caption; a class is never divided.

    Raises PromptError when one alone is too long.
    """
    costs = []
    for spec in classes.classes:
        phrases = (*spec.phrases, *spec.negatives)
        costs.append(sum(len(scorer.tokenize(p)) + 1 for p in phrases))
        if costs[-1] > scorer.token_budget:
            raise PromptError(
                f"class {spec.name!r}: its {len(phrases)} phrases take {costs[-1]} tokens, more "
                f"than the model's {scorer.token_budget}; give it fewer or shorter phrases"
            )
    return evenly_filled(costs, scorer.token_budget, most=at_once)
