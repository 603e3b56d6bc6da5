"""From scores of phrases to scores of classes, for grounders that score each phrase by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from annotate.data.types import ClassList


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of some classes, and what each stands for.

    Of `speaking` and `against` a row holds the phrases of one class, `padded`: taken together they
    need no scattering, in which a GPU may be in another order each time.
    """

    texts: tuple[str, ...]  # (p,)
    class_ids: Tensor  # (c,)
    speaking: Tensor  # (c, n) positions of texts that find the class
    against: Tensor  # (c, m) positions of texts that must not outscore them

    @classmethod
    def of(cls, classes: ClassList, class_ids: Sequence[int]) -> Phrases:
        """Of these classes, in their order."""
        texts: list[str] = []
        speaking: list[range] = []
        against: list[range] = []
        for spec in (classes.classes[class_id] for class_id in class_ids):
            for rows, phrases in ((speaking, spec.phrases), (against, spec.negatives)):
                rows.append(range(len(texts), len(texts) + len(phrases)))
                texts += phrases
        return cls(
            tuple(texts),
            torch.tensor(class_ids),
            padded(speaking, len(texts)),
            padded(against, len(texts)),
        )

    def best(self, scores_qp: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Of each query's phrase scores (q, p): rows (m,), scores (m,), class ids (m,), texts.

        All of it is in main memory: on a device each of these steps would be waited for.
        The best synonym of a class counts, unless a negative scores higher. A pair of query and
        class below the floor is left out.
        """
        # Of hundreds of queries a few are worth a look.
        (high,) = (scores_qp.amax(1) >= floor).nonzero(as_tuple=True)
        known = functional.pad(scores_qp[high], (0, 1))  # what padding points at
        of_class = known[:, self.speaking]  # (h, c, n)
        found, against = of_class.amax(-1), known[:, self.against].amax(-1)
        query, local = ((found >= floor) & (found > against)).nonzero(as_tuple=True)
        best = self.speaking[local, of_class[query, local].argmax(-1)]
        texts = [self.texts[i] for i in best.tolist()]
        return high[query], found[query, local], self.class_ids[local], texts


def padded(groups: Sequence[Sequence[int]], blank: int) -> Tensor:
    """Groups of positions as rows (g, n >= 1) of one length, the shorter ones filled with `blank`.

    `blank` is the position after the last one.
    """
    longest = max(1, *map(len, groups))
    return torch.tensor([[*group, *[blank] * (longest - len(group))] for group in groups])
