"""Limits that a run must keep for exit code 0, so that a pipeline can rely on its dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from annotate import evaluate
from annotate.checks import in_range
from annotate.errors import ConfigError
from annotate.run_folder import Run


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
        if self.truth is not None:
            evaluate.read_truth(self.truth)


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
    if rules.min_map is not None:
        precision = evaluate.average_precision(run, rules.truth or "")
        yield _at_least("gates.min_map", precision["segm"].ap, rules.min_map)
    if rules.min_hota is not None:
        tracks = evaluate.tracking_scores(run, rules.truth or "", threshold)
        yield _at_least("gates.min_hota", tracks[0].hota if tracks else 0.0, rules.min_hota)


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name, value, limit, value >= limit)
