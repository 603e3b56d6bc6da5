"""What is shown of a run, and under which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from annotate.record.run_folder import Run
from annotate.review.dataset import Kind, Place

KINDS: tuple[Kind, ...] = ("stills", "videos")


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """What is shown, and under which name."""

    name: str | None  # of the dataset; None: that of the run folder
    threshold: float  # score from which an instance is shown, 0..1
    split: Mapping[str, float]  # shares by name; empty: no split
    split_seed: int
    near_duplicates: bool
    reviewer: str | None

    def places(self, run: Run) -> tuple[Place, ...]:
        """Where the datasets of a run are."""
        name = self.name or PurePath(run.shown()).name
        return tuple(Place(run, name, kind) for kind in KINDS)
