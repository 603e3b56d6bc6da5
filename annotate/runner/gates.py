"""Limits that a run must keep for exit code 0, so that a pipeline can rely on its dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.data.checks import in_range
from annotate.data.types import ClassList
from annotate.errors import ConfigError
from annotate.evaluate import evaluation
from annotate.evaluate.detection import compare, in_common
from annotate.evaluate.truth import Truth, read_truth
from annotate.record.run_folder import Run


@dataclass(frozen=True, slots=True)
class GateRules:
    """What is asked; see `gates:` in conf/config.yaml."""

    max_failed: int
    min_annotated_share: float | None
    min_map: float | None
    min_hota: float | None
    truth: str | None

    def __post_init__(self) -> None:
        in_range("gates.max_failed", self.max_failed, 0)
        for name in ("min_annotated_share", "min_map", "min_hota"):
            if (share := getattr(self, name)) is not None:
                in_range(f"gates.{name}", share, 0, 1)
        for name in ("min_map", "min_hota"):
            if getattr(self, name) is not None and self.truth is None:
                raise ConfigError(f"gates.{name} needs ground truth: add gates.truth=FILE")


def check(rules: GateRules, classes: ClassList) -> None:
    """Raise ConfigError, before the work begins, when the truth has none of the classes."""
    if rules.truth is not None:
        in_common(read_truth(rules.truth, threshold=0), classes)


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit, and what the run came to."""

    name: str
    value: float
    limit: float
    passed: bool


def counted(rules: GateRules, *, failed: int, annotated: int, frames: int) -> Iterator[Gate]:
    """What counts of items and frames can tell; a run without frames has annotated none."""
    yield Gate("gates.max_failed", failed, rules.max_failed, failed <= rules.max_failed)
    if rules.min_annotated_share is not None:
        share = annotated / frames if frames else 0.0
        yield _at_least("gates.min_annotated_share", share, rules.min_annotated_share)


def scored(rules: GateRules, run: Run, threshold: float) -> Iterator[Gate]:
    """What ground truth can tell. A score that cannot be had, for want of frames, is 0."""
    if rules.truth is None:
        return
    truth = read_truth(rules.truth, threshold=threshold)
    if rules.min_map is not None:
        yield _at_least("gates.min_map", _average_precision(run, truth), rules.min_map)
    if rules.min_hota is not None:
        tracks = evaluation.tracking_scores(run, truth, threshold)
        yield _at_least("gates.min_hota", tracks[0].hota if tracks else 0.0, rules.min_hota)


def _average_precision(run: Run, truth: Truth) -> float:
    """Of masks, or of boxes where the truth has no masks."""
    if next(truth.judged(run), None) is None:
        return 0.0
    found = compare(run, truth).overall
    return float(np.nan_to_num(found.get("segm", found["bbox"]).ap))


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name, value, limit, value >= limit)
