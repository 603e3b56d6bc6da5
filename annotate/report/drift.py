"""What changed between two runs over the same frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from annotate.data.selection import kept_instances
from annotate.data.types import FrameRecord, Instance
from annotate.evaluate.detection import best_pairs
from annotate.record.run_folder import Run

_BINS: Final = np.linspace(0, 1, 11)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassDrift:
    """One class before and now, over the frames that both runs have."""

    name: str
    before: int  # kept instances
    now: int
    mean_score_before: float
    mean_score_now: float
    stability: float  # population stability index of the scores; from 0.25 on they have shifted


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of the earlier run's instances."""

    against: str
    frames: int  # that both have
    frames_before_only: int
    frames_now_only: int
    same: int  # instances that overlap and have the same class
    renamed: int  # that overlap under another class
    gone: int
    new: int
    classes: Sequence[ClassDrift]
    most_changed: Sequence[tuple[str, int]]  # frames, and how many instances changed


def compare(run: Run, earlier: Run, threshold: float, *, listed: int = 10) -> Drift:
    """Compare what exports at `threshold` have; both runs are streamed side by side."""
    scores: dict[str, tuple[list[float], list[float]]] = {
        name: ([], []) for name in dict.fromkeys([*earlier.classes.names, *run.classes.names])
    }
    frames: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for before, now in _side_by_side(earlier, run):
        if before is None or now is None:
            frames["now" if before is None else "before"] += 1
            continue
        frames["both"] += 1
        one = _kept(earlier, before, threshold)
        other = _kept(run, now, threshold)
        for side, kept in enumerate((one, other)):
            for name, instance in kept:
                scores[name][side].append(instance.score)
        of_frame = _fates(one, other)
        fates += of_frame
        if changes := of_frame["renamed"] + of_frame["gone"] + of_frame["new"]:
            changed[now.frame_id] = changes
    return Drift(
        against=earlier.path.resolve().name,
        frames=frames["both"],
        frames_before_only=frames["before"],
        frames_now_only=frames["now"],
        same=fates["same"],
        renamed=fates["renamed"],
        gone=fates["gone"],
        new=fates["new"],
        classes=[_class_drift(name, *sides) for name, sides in scores.items()],
        most_changed=changed.most_common(listed),
    )


def _side_by_side(
    earlier: Run, run: Run
) -> Iterator[tuple[FrameRecord | None, FrameRecord | None]]:
    """Both runs' annotated frames in their common order; None where one has no such frame."""
    sides = [(r for r in side.frames() if r.status == "ok") for side in (earlier, run)]
    one, other = (next(side, None) for side in sides)
    while one is not None or other is not None:
        keys = [
            (r.item, r.frame_index) if r is not None else ("\U0010ffff" * 8, 0)
            for r in (one, other)
        ]
        yield (one if keys[0] <= keys[1] else None), (other if keys[1] <= keys[0] else None)
        if keys[0] <= keys[1]:
            one = next(sides[0], None)
        if keys[1] <= keys[0]:
            other = next(sides[1], None)


def _kept(run: Run, record: FrameRecord, threshold: float) -> list[tuple[str, Instance]]:
    kept = kept_instances(record, run.classes, threshold)
    return [(run.classes.names[i.class_id], i) for i in kept]


def _fates(
    before: Sequence[tuple[str, Instance]], now: Sequence[tuple[str, Instance]]
) -> Counter[str]:
    """Instances paired one to one by their masks; a pair of one class comes first."""
    fates: Counter[str] = Counter()
    if before and now and before[0][1].mask.size_hw == now[0][1].mask.size_hw:
        rles: list[Any] = [[i.mask.coco for _, i in side] for side in (now, before)]
        ious = np.asarray(coco_mask.iou(*rles, [0] * len(before)), float).T
        same = np.array([n for n, _ in before])[:, None] == np.array([n for n, _ in now])
        fates.update("same" if same[pair] else "renamed" for pair in best_pairs(ious, same))
    paired = fates["same"] + fates["renamed"]
    fates["gone"], fates["new"] = len(before) - paired, len(now) - paired
    return fates


def _class_drift(name: str, before: Sequence[float], now: Sequence[float]) -> ClassDrift:
    return ClassDrift(
        name=name,
        before=len(before),
        now=len(now),
        mean_score_before=float(np.mean(before)) if before else float("nan"),
        mean_score_now=float(np.mean(now)) if now else float("nan"),
        stability=_stability(np.array(before), np.array(now)),
    )


def _stability(before: Floats, now: Floats) -> float:
    """Population stability index over ten bins of the score; nan where one side is empty."""
    if not len(before) or not len(now):
        return float("nan")
    # Half a count in each bin keeps an empty one from being infinitely far.
    shares = [(np.histogram(side, _BINS)[0] + 0.5) / (len(side) + 5) for side in (before, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
