"""From scores of phrases to scores of classes, for grounders that score each phrase by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from annotate.data.types import ClassList


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of some classes, and what each stands for; tensors have one row per phrase."""

    texts: tuple[str, ...]
    class_ids: Tensor  # (p,)
    negative: Tensor  # (p,) bool: the phrase speaks against its class

    @classmethod
    def of(cls, classes: ClassList, class_ids: Sequence[int], device: torch.device) -> Phrases:
        """Of these classes, in their order."""
        rows = [
            (phrase, class_id, negative)
            for class_id in class_ids
            for negative, phrases in (
                (False, classes.classes[class_id].phrases),
                (True, classes.classes[class_id].negatives),
            )
            for phrase in phrases
        ]
        texts, owners, negative = zip(*rows, strict=True)
        return cls(
            texts, torch.tensor(owners, device=device), torch.tensor(negative, device=device)
        )

    def best(self, scores_qp: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Of each query's phrase scores (q, p): rows (m,), scores (m,), class ids (m,), texts.

        The best synonym of a class counts, unless a negative scores higher. A pair of query and
        class below the floor is left out.
        """
        first = int(self.class_ids.min())
        classes = int(self.class_ids.max()) - first + 1
        owner = (self.class_ids - first).expand_as(scores_qp)
        empty = scores_qp.new_zeros(len(scores_qp), classes)
        found = empty.scatter_reduce(1, owner, scores_qp.masked_fill(self.negative, 0), "amax")
        against = empty.scatter_reduce(1, owner, scores_qp.masked_fill(~self.negative, 0), "amax")
        query, local = ((found >= floor) & (found > against)).nonzero(as_tuple=True)
        class_ids = local + first
        others = (self.class_ids != class_ids[:, None]) | self.negative
        best = scores_qp[query].masked_fill(others, -1).argmax(1)
        return query, found[query, local], class_ids, [self.texts[i] for i in best.tolist()]
