"""What to do where a run kept nothing of a class: its best score, and the key to turn."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable

from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList
from annotate.models.hub import EMBEDDED
from annotate.record.run_summary import Counts

NAMED = 5  # classes by name, in a message
TINY = (
    "models=tiny was trained on generated shapes and knows nothing else; on photographs take "
    "models=fast, balanced or best"
)


def advice(counts: Counts, classes: ClassList, settings: AnnotateCommand, run: str) -> list[str]:
    """A line or a few, for people, on classes of which exports have nothing; none where all have.

    `run` is the run folder as the user knows it.
    """
    empty = [spec for spec in classes.classes if not counts.kept[spec.name]]
    if not empty or not counts.frames:
        return []
    lines = []
    if unseen := [spec.name for spec in empty if not counts.recorded[spec.name]]:
        lines.append(
            f"not found: {_some(unseen)} (no score of ground.floor={settings.ground.floor:g} or "
            "more); other phrases may find more: docs/prompts.md"
        )
    below = [s for s in empty if counts.recorded[s.name] and not counts.wrong_size[s.name]]
    below.sort(key=lambda spec: -counts.best[spec.name])
    if shared := [spec.name for spec in below if spec.threshold is None]:
        lines.append(
            f"below threshold={settings.threshold:g}: "
            + _some(f"{name} {counts.best[name]:.2f}" for name in shared)
            + f"; to see the best without a new run: annotate export run={shlex.quote(run)} "
            f"threshold={_just_below(counts.best[shared[0]]):g}"
        )
    if own := [spec for spec in below if spec.threshold is not None]:
        lines.append(
            "below the threshold in the class list: "
            + _some(f"{s.name} {counts.best[s.name]:.2f} < {s.threshold:g}" for s in own)
            + "; with a lower one there the same command exports again, without a new run"
        )
    for spec in [s for s in empty if counts.wrong_size[s.name]][:NAMED]:
        asked = " ".join(
            f"{key}={value:.10g}"
            for key in ("min_area", "max_area", "min_aspect", "max_aspect")
            if (value := getattr(spec, key)) is not None
        )
        lines.append(
            f"{spec.name}: {counts.wrong_size[spec.name]:,} score enough but are not of the size "
            f"or shape asked for ({asked or 'their masks are empty'})"
        )
    if settings.only != "all":
        lines.append(f"only={settings.only}: exports hold what review has passed, and no more")
    models = [str(part.arguments.get("model", "")) for part in settings.grounder.parts]
    if len(empty) == len(classes) and all(model.startswith(EMBEDDED) for model in models):
        lines.append(TINY)
    return lines


def _some(texts: Iterable[str]) -> str:
    told = list(texts)
    more = f" and {len(told) - NAMED:,} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more


def _just_below(score: float) -> float:
    """A threshold of two digits that the score reaches."""
    return math.floor(score * 100 + 1e-6) / 100
