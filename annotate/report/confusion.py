"""The confusion of classes at a size that fits a page: the worst pairs, and the worst classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

CLASSES: Final = 20  # of the matrix
PAIRS: Final = 15


@dataclass(frozen=True, slots=True)
class Confusion:
    """Mistakes between classes; the matrix is of those with the most, and of "none"."""

    pairs: Sequence[tuple[str, str, int, float]]  # truth, found as, times, share of the truth's
    names: Sequence[str]  # of rows and columns; the last is "none"
    counts: Sequence[Sequence[int]]  # rows are the truth
    shares: Sequence[Sequence[float]]  # the same, of their row in the whole matrix
    pairs_left_out: int
    classes_left_out: int
    mistakes_left_out: int  # that neither row nor column of the matrix shows


def confusion(
    evaluation: Mapping[str, Any], *, classes: int = CLASSES, pairs: int = PAIRS
) -> Confusion:
    """What `evaluation.json` says of confusion, cut to what people can read."""
    names: list[str] = list(evaluation["confusion_names"])
    counts = np.array(evaluation["confusion"], np.int64).reshape(len(names), len(names))
    wrong = counts - np.diag(np.diag(counts))
    totals = counts.sum(1)
    none = len(names) - 1
    between = wrong[:none, :none]
    order = np.argsort(-between, axis=None, kind="stable")
    places = [divmod(int(p), max(none, 1)) for p in order[: pairs if none else 0]]
    listed = [
        (names[r], names[c], int(between[r, c]), float(between[r, c] / totals[r]))
        for r, c in places
        if between[r, c]
    ]
    mistakes = (wrong.sum(0) + wrong.sum(1))[:none]
    kept = np.sort(np.argsort(-mistakes, kind="stable")[:classes])
    shown = np.append(kept, none)
    square = counts[np.ix_(shown, shown)]
    shown_wrong = int(wrong[np.ix_(shown, shown)].sum())
    return Confusion(
        pairs=listed,
        names=[names[n] for n in shown],
        counts=square.tolist(),
        shares=(square / np.maximum(totals[shown], 1)[:, None]).tolist(),
        pairs_left_out=int((between > 0).sum()) - len(listed),
        classes_left_out=none - len(kept),
        mistakes_left_out=int(wrong.sum()) - shown_wrong,
    )
