"""Export thresholds per class from a labelled share of the data, and what they gain elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from annotate.data.types import ClassList
from annotate.discover.class_list import class_list_to_yaml
from annotate.evaluate.detection import Judged, Rates, rates

LEAST_OBJECTS: Final = 10  # of a class in the truth; from fewer no threshold is suggested
_WORTH_IT: Final = 0.005  # F-beta; for less a threshold is not moved


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold for one class, and its F-beta on items it was not chosen on."""

    threshold: float
    before: float  # F-beta at the threshold of now, over all folds
    after: float  # the same with thresholds chosen without the fold that is judged


@dataclass(frozen=True, slots=True)
class Suggested:
    """Thresholds by class name, and what they come to over all these classes."""

    classes: Mapping[str, Suggestion]
    before: float
    after: float


def suggest(
    judged: Mapping[str, Judged], limits: Mapping[str, float], *, beta: float, folds: int
) -> Suggested:
    """The thresholds of highest F-beta per class, validated across `folds` groups of items.

    A threshold is chosen on all items; its gain is measured on each fold with one chosen on the
    others. Items are dealt to folds by a hash of their name, so a video is in one fold.
    """
    chosen: dict[str, Suggestion] = {}
    before = after = Rates(0, 0, 0)
    for name, of_class in judged.items():
        if of_class.objects < LEAST_OBJECTS or not of_class.right.any():
            continue
        old = new = Rates(0, 0, 0)
        for fold in range(folds):
            here, there = _divided(of_class, fold, folds)
            old += rates(here, limits[name])
            new += rates(here, _best(there, beta, limits[name]))
        threshold = _best(of_class, beta, limits[name])
        chosen[name] = Suggestion(threshold, old.f_beta(beta), new.f_beta(beta))
        before, after = before + old, after + new
    return Suggested(chosen, before.f_beta(beta), after.f_beta(beta))


def as_prompts(classes: ClassList, suggested: Suggested) -> str:
    """Yaml for `prompts=`: the class list with the suggested thresholds."""
    specs = tuple(
        replace(spec, threshold=suggested.classes[spec.name].threshold)
        if spec.name in suggested.classes
        else spec
        for spec in classes.classes
    )
    return class_list_to_yaml(ClassList(specs))


def _best(judged: Judged, beta: float, otherwise: float) -> float:
    """The threshold of highest F-beta, half-way to the next score below; of equals the lowest.

    `otherwise`, the one of now, stays where there is little to gain.
    """
    right = np.cumsum(judged.right)
    if not judged.objects or not len(right) or not right[-1]:
        return otherwise
    weight = beta * beta
    found = np.arange(1, len(right) + 1)
    f_beta = (1 + weight) * right / (weight * judged.objects + found)
    # Scores that are equal are kept or dropped together.
    ends = np.append(judged.scores[1:] < judged.scores[:-1], True)
    best = len(f_beta) - 1 - int(np.where(ends, f_beta, -1)[::-1].argmax())
    if rates(judged, otherwise).f_beta(beta) > f_beta[best] - _WORTH_IT:
        return otherwise
    following = judged.scores[best + 1] if best + 1 < len(right) else judged.scores[best]
    return round(float(judged.scores[best] + following) / 2, 4)


def _divided(judged: Judged, fold: int, folds: int) -> tuple[Judged, Judged]:
    """What lies in a fold, and what does not."""
    here = {item for item in {*judged.truth, *judged.items} if _fold_of(item, folds) == fold}
    rows = np.array([item in here for item in judged.items], bool)
    return _of_rows(judged, rows, here), _of_rows(judged, ~rows, judged.truth.keys() - here)


def _of_rows(judged: Judged, rows: np.ndarray, items: Sequence[str] | set[str]) -> Judged:
    return Judged(
        judged.scores[rows],
        judged.right[rows],
        tuple(item for item, kept in zip(judged.items, rows, strict=True) if kept),
        {item: n for item, n in judged.truth.items() if item in items},
    )


def _fold_of(item: str, folds: int) -> int:
    return int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest(), "big") % folds
