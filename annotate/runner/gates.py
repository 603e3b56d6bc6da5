"""Limits that a run must keep for exit code 0, so that a pipeline can rely on its dataset."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

import numpy as np

from annotate.config.settings import GateSettings
from annotate.data.item_paths import shown
from annotate.data.types import ClassList
from annotate.errors import ConfigError
from annotate.evaluate import evaluation
from annotate.evaluate.detection import compare, in_common
from annotate.evaluate.truth import Truth, read_truth
from annotate.record.run_folder import Run
from annotate.record.run_summary import Gate

log = logging.getLogger(__name__)


def check(limits: GateSettings, classes: ClassList, items: Collection[str] | None = None) -> None:
    """Raise ConfigError, before the work begins, when the truth can judge nothing of it.

    That is when it has none of the classes, no object of them but crowds, or no frame of the items
    of the dataset.
    """
    if limits.truth is None:
        return
    truth = read_truth(limits.truth, threshold=0)
    asked = set(in_common(truth, classes).values())
    objects = [o for some in truth.objects.values() for o in some if o["category_id"] in asked]
    if all(o["iscrowd"] for o in objects):
        crowds = f" but {len(objects)} crowds (iscrowd 1)" if objects else ""
        raise ConfigError(f"gates.truth={limits.truth}: no object of the run's classes{crowds}")
    if items is not None and not truth.may_share(items):
        some = shown(next(iter(truth.images), "none"))
        raise ConfigError(
            f"gates.truth={limits.truth}: has no frame of the dataset; its frames have names such "
            f"as {some}, the dataset's are as {shown(next(iter(items), 'none'))}"
        )


def counted(limits: GateSettings, *, failed: int, annotated: int, frames: int) -> Iterator[Gate]:
    """What counts of items and frames can tell; a run without frames has annotated none."""
    yield Gate("gates.max_failed", failed, limits.max_failed, failed <= limits.max_failed)
    if limits.min_annotated_share is not None:
        share = annotated / frames if frames else 0.0
        yield _at_least("gates.min_annotated_share", share, limits.min_annotated_share)


def scored(limits: GateSettings, run: Run, threshold: float) -> Iterator[Gate]:
    """What ground truth can tell of exports. A score that cannot be had, for want of frames, is 0.

    Exports hold what people decided in review.
    """
    if limits.truth is None:
        return
    truth = read_truth(limits.truth, threshold=threshold)
    if limits.min_map is not None:
        yield _at_least("gates.min_map", _average_precision(run, truth), limits.min_map)
    if limits.min_hota is not None:
        tracks = evaluation.tracking_scores(run, truth, threshold, reviewed=True)
        yield _at_least("gates.min_hota", tracks[0].hota if tracks else 0.0, limits.min_hota)


def _average_precision(run: Run, truth: Truth) -> float:
    """Of masks, or of boxes where the truth has no masks."""
    if next(truth.judged(run, reviewed=True), None) is None:
        log.warning("gates.truth=%s: has no frame that the run annotated", truth.source)
        return 0.0
    found = compare(run, truth, reviewed=True).overall
    return float(np.nan_to_num(found.get("segm", found["bbox"]).ap))


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name, value, limit, value >= limit)
