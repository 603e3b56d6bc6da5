"""Limits that a run must keep for exit code 0, so that a pipeline can rely on its dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.config.settings import GateSettings
from annotate.data.types import ClassList
from annotate.evaluate import evaluation
from annotate.evaluate.detection import compare, in_common
from annotate.evaluate.truth import Truth, read_truth
from annotate.record.run_folder import Run


def check(limits: GateSettings, classes: ClassList) -> None:
    """Raise ConfigError, before the work begins, when the truth has none of the classes."""
    if limits.truth is not None:
        in_common(read_truth(limits.truth, threshold=0), classes)


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit, and what the run came to."""

    name: str
    value: float
    limit: float
    passed: bool


def counted(limits: GateSettings, *, failed: int, annotated: int, frames: int) -> Iterator[Gate]:
    """What counts of items and frames can tell; a run without frames has annotated none."""
    yield Gate("gates.max_failed", failed, limits.max_failed, failed <= limits.max_failed)
    if limits.min_annotated_share is not None:
        share = annotated / frames if frames else 0.0
        yield _at_least("gates.min_annotated_share", share, limits.min_annotated_share)


def scored(limits: GateSettings, run: Run, threshold: float) -> Iterator[Gate]:
    """What ground truth can tell. A score that cannot be had, for want of frames, is 0."""
    if limits.truth is None:
        return
    truth = read_truth(limits.truth, threshold=threshold)
    if limits.min_map is not None:
        yield _at_least("gates.min_map", _average_precision(run, truth), limits.min_map)
    if limits.min_hota is not None:
        tracks = evaluation.tracking_scores(run, truth, threshold)
        yield _at_least("gates.min_hota", tracks[0].hota if tracks else 0.0, limits.min_hota)


def _average_precision(run: Run, truth: Truth) -> float:
    """Of masks, or of boxes where the truth has no masks."""
    if next(truth.judged(run), None) is None:
        return 0.0
    found = compare(run, truth).overall
    return float(np.nan_to_num(found.get("segm", found["bbox"]).ap))


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name, value, limit, value >= limit)
