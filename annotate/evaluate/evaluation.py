"""`python -m annotate.evaluate run=DIR truth=FILE`: score a run against ground truth."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from annotate.data.printable import printable
from annotate.data.selection import kept_instances
from annotate.data.types import FrameRecord
from annotate.errors import ConfigError
from annotate.evaluate import thresholds
from annotate.evaluate.detection import (
    AveragePrecision,
    Judged,
    Rates,
    compare,
    confusion,
    on_crowds,
    rates,
)
from annotate.evaluate.thresholds import Suggested
from annotate.evaluate.tracking import (
    Tracked,
    TrackedBox,
    TrackedMask,
    TrackingScores,
    combine,
    count_video,
    xywh,
)
from annotate.evaluate.truth import Truth, mask_of
from annotate.record.run_folder import Run
from annotate.store import atomic

KINDS = {"bbox": "box", "segm": "mask"}
LISTED_CLASSES = 12  # on a terminal
CURVE = tuple(round(0.01 * n, 2) for n in range(1, 100))  # thresholds


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class against the truth."""

    average_precision: Mapping[str, AveragePrecision]  # by kind: "bbox", "segm"
    rates: Rates  # from its export threshold on
    found: Sequence[int]  # by threshold of CURVE
    right: Sequence[int]  # of these


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything `evaluation.json` says."""

    truth: str
    thresholds: Mapping[str, float]  # by class, those in force
    frames: int  # that run and truth share
    average_precision: Mapping[str, AveragePrecision]
    classes: Mapping[str, ClassScores]
    confusion_names: Sequence[str]  # rows are the truth's, columns the run's; the last is "none"
    confusion: Sequence[Sequence[int]]
    videos: int
    tracks: TrackingScores | None
    suggested: Suggested | None
    curve: Sequence[tuple[float, Rates]]  # one threshold for all classes, and what it comes to

    @property
    def rates(self) -> Rates:
        """Counts over all classes."""
        return sum((c.rates for c in self.classes.values()), Rates(0, 0, 0))

    def write(self, path: Path) -> None:
        """Write it as json; what cannot be told is null. Raises StorageError."""
        document = asdict(self)
        for name, scores in self.classes.items():
            document["classes"][name]["rates"] |= _shares(scores.rates)
        document["rates"] = asdict(self.rates) | _shares(self.rates)
        document["curve"] = [{"threshold": t, **_shares(counted)} for t, counted in self.curve]
        text = json.dumps(_without_nan(document), indent=2, ensure_ascii=False)
        atomic.write_text(path, text + "\n")


def evaluate(
    run: Run, truth: Truth, threshold: float, *, suggestion: tuple[float, int] | None = None
) -> Evaluation:
    """Judge a run. `suggestion` asks for thresholds: beta of F-beta, and folds to validate on.

    The run counts as it was made, within its limits of area: AP down to the lowest score, all else
    from `threshold` or that of a class on. Raises ConfigError where there is nothing to compare.
    """
    found = compare(run, truth)
    limits = run.classes.thresholds(threshold)
    by_name = dict(zip(run.classes.names, limits, strict=True))
    names, counts = confusion(run, truth, threshold)
    tracking = tracking_scores(run, truth, threshold)
    suggested = None
    if suggestion is not None:
        beta, folds = suggestion
        suggested = thresholds.suggest(found.judged, by_name, beta=beta, folds=folds)
    return Evaluation(
        truth=truth.source,
        thresholds={name: by_name[name] for name in found.judged},
        frames=found.frames,
        average_precision=found.overall,
        classes={
            name: _class_scores(found.per_class[name], judged, by_name[name])
            for name, judged in found.judged.items()
        },
        confusion_names=[*names, "none"],
        confusion=counts.tolist(),
        videos=tracking[1] if tracking else 0,
        tracks=tracking[0] if tracking else None,
        suggested=suggested,
        curve=[
            (t, sum((rates(judged, t) for judged in found.judged.values()), Rates(0, 0, 0)))
            for t in CURVE
        ],
    )


def _class_scores(
    precision: Mapping[str, AveragePrecision], judged: Judged, threshold: float
) -> ClassScores:
    swept = [rates(judged, t) for t in CURVE]
    return ClassScores(
        precision,
        rates(judged, threshold),
        found=[r.found for r in swept],
        right=[r.right for r in swept],
    )


def tracking_scores(
    run: Run, truth: Truth, threshold: float, *, reviewed: bool = False
) -> tuple[TrackingScores, int] | None:
    """Scores of the run's tracks and the number of videos; None where truth and run share none.

    What counts is what an export has: instances from `threshold` on, or from that of their class,
    as they were made, or `reviewed`.
    Judged are the frames of videos that both have, by the classes that both have; truth gives
    objects a `track_id`. Crowds are neither missed nor wrongly found. Boxes are compared where one
    of them has no masks.
    Raises ConfigError where the truth has a track twice in a frame.
    """
    names = run.classes.names
    asked = {truth.classes[name] for name in names if name in truth.classes}
    if not any(_trackable(o, asked) for of_image in truth.objects.values() for o in of_image):
        return None

    masks = truth.by_masks(run)

    def compared(
        frames: Iterator[tuple[FrameRecord, Mapping[str, Any]]],
    ) -> Iterator[tuple[list[Tracked], list[Tracked]]]:
        for record, image in frames:
            known = truth.objects_of(image)
            kept = list(kept_instances(record, run.classes, threshold))
            crowds = [o for o in known if o["iscrowd"] and o["category_id"] in asked]
            ignored = on_crowds(crowds, kept, masks=masks)
            yield (
                [
                    TrackedMask(o["track_id"], o["category_id"], mask_of(o))
                    if masks
                    else TrackedBox(o["track_id"], o["category_id"], tuple(o["bbox"]))
                    for o in known
                    if _trackable(o, asked)
                ],
                [
                    TrackedMask(i.track_id, category, i.mask)
                    if masks
                    else TrackedBox(i.track_id, category, xywh(i.box_xyxy))
                    for i, on_crowd in zip(kept, ignored, strict=True)
                    if not on_crowd
                    and (category := truth.classes.get(names[i.class_id])) is not None
                ],
            )

    judged = ((r, image) for r, image in truth.judged(run, reviewed=reviewed) if r.media == "video")
    by_video = groupby(judged, lambda f: f[0].item)
    try:
        videos = [count_video(compared(frames)) for _, frames in by_video]
    except ValueError as error:
        raise ConfigError(f"{truth.source}: {error}") from error
    return (combine(videos), len(videos)) if videos else None


def _trackable(annotation: Mapping[str, Any], asked: Collection[int]) -> bool:
    """Whether an object of the truth is one that tracks are judged by."""
    told = "track_id" in annotation and annotation["category_id"] in asked
    return told and not annotation["iscrowd"]


def agreeing_instances(run: Run, truth: Truth, *, iou: float) -> frozenset[str]:
    """Ids of the instances that lie on an object of their class with at least this mask IoU."""
    names, right = run.classes.names, set()
    for record, image in truth.judged(run):
        for i in record.instances:
            mine = i.mask.coco
            category = truth.classes.get(names[i.class_id])
            same = [
                o["segmentation"] for o in truth.objects_of(image) if o["category_id"] == category
            ]
            if same and coco_mask.iou([mine], same, [0] * len(same)).max() >= iou:
                right.add(i.instance_id)
    return frozenset(right)


def _shares(counted: Rates) -> dict[str, float]:
    return {"precision": counted.precision, "recall": counted.recall, "f1": counted.f_beta()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def table(result: Evaluation) -> str:
    """The evaluation for a terminal."""
    names = list(result.classes)
    width = max(len("class"), *map(len, names), len("all classes"))
    kinds = list(result.average_precision)
    head = "  ".join(f"{KINDS[k]} AP  AP50 " for k in kinds)
    lines = [f"{'class':<{width}}  {head}  precision  recall     F1  objects"]
    worst = sorted(names, key=lambda name: _worth(result.classes[name]))[:LISTED_CLASSES]
    lines += [
        _row(name, width, result.classes[name].average_precision, result.classes[name].rates)
        for name in worst
    ]
    if more := len(names) - len(worst):
        lines.append(f"... and {more:,} better ones, in evaluation.json and in the report")
    lines += [_row("all classes", width, result.average_precision, result.rates), ""]
    for kind, ap in result.average_precision.items():
        lines.append(
            f"{KINDS[kind]:>4} AP {ap.ap:.3f}  AP50 {ap.ap50:.3f}  AP75 {ap.ap75:.3f}  small "
            f"{_share(ap.ap_small)}  medium {_share(ap.ap_medium)}  large {_share(ap.ap_large)}  "
            f"AR {ap.ar100:.3f}"
        )
    mixed = sorted(_mixed_up(result), reverse=True)[:5]
    if mixed:
        lines.append(
            "taken for another class: " + ", ".join(f"{t} as {f} {n}x" for n, t, f in mixed)
        )
    if tracks := result.tracks:
        lines.append(
            f"tracks of {result.videos} videos: HOTA {tracks.hota:.3f}  DetA {tracks.det_a:.3f}  "
            f"AssA {tracks.ass_a:.3f}  IDF1 {tracks.idf1:.3f}  J {tracks.j:.3f}  "
            f"id switches {tracks.id_switches}"
        )
    if suggested := result.suggested:
        lines += ["", f"{'class':<{width}}  threshold  suggested  F-beta now  with it, elsewhere"]
        lines += [
            f"{name:<{width}}  {result.thresholds[name]:>9.3f}  {s.threshold:>9.3f}  "
            f"{s.before:>10.3f}  {s.after:>18.3f}"
            for name, s in suggested.classes.items()
        ]
        few = [name for name in names if name not in suggested.classes]
        if suggested.classes:
            verdict = "" if suggested.after > suggested.before else ": keep those of now"
            lines.append(
                f"over these classes F-beta goes from {suggested.before:.3f} to "
                f"{suggested.after:.3f} on items that they were not chosen on{verdict}"
            )
        if few:
            lines.append(
                f"fewer than {thresholds.LEAST_OBJECTS} objects in the truth, or none found: "
                + ", ".join(few)
            )
    return "\n".join(map(printable, lines))


def _worth(scores: ClassScores) -> float:
    """Classes that the truth does not show come last."""
    ap = list(scores.average_precision.values())[-1].ap  # of masks, where there are any
    return math.inf if math.isnan(ap) else ap


def _row(name: str, width: int, precision: Mapping[str, AveragePrecision], counted: Rates) -> str:
    figures = "  ".join(
        f"{_share(p.ap):>{len(KINDS[kind]) + 3}}  {_share(p.ap50):<5}"
        for kind, p in precision.items()
    )
    return (
        f"{name:<{width}}  {figures}  {_share(counted.precision):>9}  {_share(counted.recall):>6}  "
        f"{_share(counted.f_beta()):>5}  {counted.objects:>7}"
    )


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _mixed_up(result: Evaluation) -> Iterator[tuple[int, str, str]]:
    """How often an object of one class was found as another: (times, truth, found)."""
    names = result.confusion_names[:-1]
    for row, truth in enumerate(names):
        for column, found in enumerate(names):
            if row != column and (times := result.confusion[row][column]):
                yield times, truth, found
