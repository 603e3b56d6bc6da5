"""How well instances agree with the truth: AP and AR, precision and recall, confusion of classes.

AP and AR are pycocotools' own: the mean over IoU 0.50 to 0.95 of precision over recall. Precision,
recall and F1 count matches at IoU 0.50 from a threshold on, matched as pycocotools does, the best
scores first.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from annotate.data.item_paths import shown
from annotate.data.selection import kept_instances
from annotate.data.types import ClassList, Instance
from annotate.errors import ConfigError
from annotate.evaluate.truth import Truth
from annotate.record.run_folder import Run

log = logging.getLogger(__name__)

MATCH_IOU: Final = 0.5
_AREAS: Final = ("all", "small", "medium", "large")  # pycocotools' ranges: 32 and 96 px squared
_IOUS: Final = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
_SCORED: Final = 100  # instances of a class per image that AP and AR look at, as COCO has it
_COUNTED: Final = 1000  # that precision and recall look at

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's figures, 0..1; nan where the truth has no object of that size."""

    ap: float  # over IoU 0.50 to 0.95
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar100: float  # average recall with up to 100 instances an image


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The instances of one class from the record floor on, against the truth; the best first."""

    scores: Floats  # (n,)
    right: npt.NDArray[np.bool_]  # (n,) matched at IoU 0.50
    items: tuple[str, ...]  # (n,)
    truth: Mapping[str, int]  # objects of the truth per item

    @property
    def objects(self) -> int:
        """How many objects the truth has."""
        return sum(self.truth.values())


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What `compare` found out, per kind: "bbox", and "segm" where the truth has masks."""

    frames: int
    overall: Mapping[str, AveragePrecision]
    per_class: Mapping[str, Mapping[str, AveragePrecision]]  # class name -> kind -> figures
    judged: Mapping[str, Judged] = field(default_factory=dict)  # by class name


def compare(run: Run, truth: Truth, *, reviewed: bool = False) -> Detections:
    """Judge what exports hold down to the lowest score, on the frames that run and truth share.

    Limits of area apply, and if `reviewed` what people decided; what they vouched for has score 1.
    Classes are matched by name; those that the run was not asked for are none of its misses. Raises
    ConfigError where run and truth have no class or no frame in common, or crowds alone.
    """
    asked = in_common(truth, run.classes)
    every_score = ClassList(tuple(replace(spec, threshold=None) for spec in run.classes.classes))
    images: dict[int, dict[str, Any]] = {}
    item_of: dict[int, str] = {}
    found: dict[int, list[dict[str, Any]]] = {category: [] for category in asked.values()}
    for record, image in truth.judged(run, reviewed=reviewed):
        images[image["id"]] = {"id": image["id"], "width": record.width, "height": record.height}
        item_of[image["id"]] = record.item
        kept = kept_instances(record, every_score, threshold=0)
        for result in _results(kept, image, run.classes, asked):
            found[result["category_id"]].append(result)
    if not images:
        some = next(iter(truth.images), "none")
        raise ConfigError(
            f"{truth.source}: has no frame of the run; its frames have names such as {shown(some)},"
            f" which must be those of the run's frames (frame_id, else file_name), as {_first(run)}"
        )
    objects: dict[int, list[dict[str, Any]]] = {category: [] for category in asked.values()}
    for o in (o for number in images for o in truth.objects.get(number, ())):
        if o["category_id"] in objects:
            objects[o["category_id"]].append(dict(o))
    _say_what_is_not_judged(truth, run.classes, [o for some in objects.values() for o in some])
    kinds = ("bbox", "segm") if truth.by_masks(run) else ("bbox",)
    curves: dict[str, list[_Curves]] = {kind: [] for kind in kinds}
    judged: dict[str, Judged] = {}
    # Class by class, on the images it is in: pycocotools keeps something of every image and class.
    for name, category in asked.items():
        for kind in kinds:
            scorer = _scorer(images, objects[category], found[category], kind, category)
            curves[kind].append(_Curves.of(scorer))
            if kind == kinds[-1]:
                judged[name] = _judged(scorer, item_of)
    return Detections(
        frames=len(images),
        overall={kind: _figures(of_kind) for kind, of_kind in curves.items()},
        per_class={
            name: {kind: _figures([of_kind[row]]) for kind, of_kind in curves.items()}
            for row, name in enumerate(asked)
        },
        judged=judged,
    )


def in_common(truth: Truth, classes: ClassList) -> dict[str, int]:
    """The truth's category ids of the classes that both have, by name. Raises ConfigError."""
    asked = {name: truth.classes[name] for name in classes.names if name in truth.classes}
    if not asked:
        raise ConfigError(
            f"{truth.source}: has none of the run's classes ({_some(classes.names)}), "
            f"but {_some(sorted(truth.classes)) or 'none'}; annotate.evaluate can translate them "
            "(mapping=FILE)"
        )
    return asked


def _first(run: Run) -> str:
    """The name of a frame that the run annotated."""
    return next((shown(r.frame_id) for r in run.frames() if r.status == "ok"), "none")


def _some(names: Sequence[str]) -> str:
    """The first of some class names, without what steers a terminal."""
    first = [n if n.isprintable() and len(n) <= 60 else shown(n, 60) for n in names[:5]]
    return ", ".join([*first, "..."] if len(names) > 5 else first)


def _say_what_is_not_judged(
    truth: Truth, classes: ClassList, objects: Sequence[Mapping[str, Any]]
) -> None:
    """Say what no figure is about. Raises ConfigError where nothing can be judged at all."""
    if objects and all(o["iscrowd"] for o in objects):
        raise ConfigError(
            f"{truth.source}: of the run's classes it has {len(objects)} crowds (iscrowd 1) and no "
            "object on the run's frames: crowds are left out, so there is nothing to judge by"
        )
    if not objects:
        log.warning("%s: no object of the run's classes is on the run's frames", truth.source)
    for whose, names in (
        ("the truth", [n for n in classes.names if n not in truth.classes]),
        ("the run", sorted(truth.classes.keys() - set(classes.names))),
    ):
        if names:
            log.warning(
                "%s: not judged, for %s has no such class: %s", truth.source, whose, _some(names)
            )


def _results(
    kept: Iterable[Instance], image: Mapping[str, Any], classes: ClassList, asked: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Instances as COCO results."""
    for i in kept:
        if (category := asked.get(classes.names[i.class_id])) is None:
            continue
        x0, y0, x1, y1 = i.box_xyxy
        yield {
            "image_id": image["id"],
            "category_id": category,
            "score": 1.0 if i.vouched else i.score,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": i.mask.coco,
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Curves:
    """What pycocotools accumulated of one class; -1 where the truth has nothing."""

    precision: Floats  # (iou, recall, area)
    recall: Floats  # (iou, area)

    @classmethod
    def of(cls, scorer: Any) -> _Curves:
        at = scorer.params.maxDets.index(_SCORED)
        return cls(
            np.asarray(scorer.eval["precision"])[:, :, 0, :, at],
            np.asarray(scorer.eval["recall"])[:, 0, :, at],
        )


def _scorer(
    images: Mapping[int, dict[str, Any]],
    objects: Sequence[dict[str, Any]],
    found: Sequence[dict[str, Any]],
    kind: str,
    category: int,
) -> Any:
    """pycocotools' COCOeval of one class, accumulated."""
    there = sorted({o["image_id"] for o in (*objects, *found)})
    document = {
        "images": [images[number] for number in there],
        "annotations": objects,
        "categories": [{"id": category, "name": ""}],
    }
    # Given both, loadRes takes the area of the box for that of the mask.
    other = "segmentation" if kind == "bbox" else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth = COCO()
        truth.dataset = document
        truth.createIndex()
        results = COCO()
        if found:
            results = truth.loadRes([{k: v for k, v in f.items() if k != other} for f in found])
        else:  # loadRes takes no empty list
            results.dataset = {**document, "annotations": []}
            results.createIndex()
        scorer = COCOeval(truth, results, kind)
        scorer.params.catIds = [category]
        scorer.params.maxDets = [1, 10, _SCORED, _COUNTED]
        scorer.evaluate()
        scorer.accumulate()
    return scorer


def _figures(classes: Sequence[_Curves]) -> AveragePrecision:
    """Figures over some classes, as pycocotools sums them up."""
    precision = np.stack([c.precision for c in classes])  # (class, iou, recall, area)
    recall = np.stack([c.recall for c in classes])

    def mean(values: Floats) -> float:
        known = values[values > -1]
        return float(known.mean()) if known.size else float("nan")

    return AveragePrecision(
        ap=mean(precision[..., 0]),
        ap50=mean(precision[:, _IOUS.index(0.5), :, 0]),
        ap75=mean(precision[:, _IOUS.index(0.75), :, 0]),
        ap_small=mean(precision[..., _AREAS.index("small")]),
        ap_medium=mean(precision[..., _AREAS.index("medium")]),
        ap_large=mean(precision[..., _AREAS.index("large")]),
        ar100=mean(recall[..., 0]),
    )


def _judged(scorer: Any, item_of: Mapping[int, str]) -> Judged:
    """What pycocotools matched at IoU 0.50, over objects of all sizes, which it lists first."""
    scores: list[float] = []
    right: list[bool] = []
    items: list[str] = []
    truth: dict[str, int] = {}
    for of_image in scorer.evalImgs[: len(scorer.params.imgIds)]:
        if of_image is None:
            continue
        item = item_of[of_image["image_id"]]
        truth[item] = truth.get(item, 0) + int((np.array(of_image["gtIgnore"]) == 0).sum())
        # What lies on a crowd is neither right nor wrong.
        counts = ~np.asarray(of_image["dtIgnore"][0], bool)
        scores += np.array(of_image["dtScores"])[counts].tolist()
        right += (np.array(of_image["dtMatches"][0])[counts] > 0).tolist()
        items += [item] * int(counts.sum())
    order = np.argsort(-np.array(scores), kind="stable").astype(int)
    return Judged(
        np.array(scores, float)[order],
        np.array(right, bool)[order],
        tuple(items[i] for i in order),
        truth,
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts and shares of one class from a threshold on."""

    objects: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        return self.right / self.objects if self.objects else float("nan")

    def f_beta(self, beta: float = 1.0) -> float:
        """Recall counts `beta` times as much as precision; 0 where nothing is right."""
        weight = beta * beta
        total = weight * self.objects + self.found
        return (1 + weight) * self.right / total if total else float("nan")

    def __add__(self, other: Rates) -> Rates:
        return Rates(
            self.objects + other.objects, self.found + other.found, self.right + other.right
        )


def rates(judged: Judged, threshold: float) -> Rates:
    """Counts of one class from `threshold` on."""
    # Scores are stored as float32, in which 0.9 is a little less than 0.9.
    kept = np.asarray(judged.scores, np.float32) >= np.float32(threshold)
    return Rates(judged.objects, int(kept.sum()), int(judged.right[kept].sum()))


def confusion(run: Run, truth: Truth, threshold: float) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Class names, and counts (truth, found) of matches at IoU 0.50; the last row and column: none.

    Counted is what an export at `threshold` has. Within a frame pairs of one class come first, then
    what is left is paired across classes, the largest overlap in sum.
    """
    names = [name for name in run.classes.names if name in truth.classes]
    row_of = {truth.classes[name]: row for row, name in enumerate(names)}
    column_of = {run.classes.names.index(name): row for row, name in enumerate(names)}
    counts = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    masks = truth.by_masks(run)
    for record, image in truth.judged(run):
        known = [o for o in truth.objects_of(image) if o["category_id"] in row_of]
        objects = [o for o in known if not o["iscrowd"]]
        kept = kept_instances(record, run.classes, threshold)
        found = [i for i in kept if i.class_id in column_of]
        rows = np.array([row_of[o["category_id"]] for o in objects], int)
        columns = np.array([column_of[i.class_id] for i in found], int)
        ious = _ious(objects, found, masks=masks)
        pairs = best_pairs(ious, rows[:, None] == columns[None])
        for one, other in pairs:
            counts[rows[one], columns[other]] += 1
        missed = np.delete(rows, [one for one, _ in pairs])
        counts[:, -1] += np.bincount(missed, minlength=len(counts))
        crowds = [o for o in known if o["iscrowd"]]
        alone = ~on_crowds(crowds, found, masks=masks)
        alone[[other for _, other in pairs]] = False
        counts[-1] += np.bincount(columns[alone], minlength=len(counts))
    return names, counts


def on_crowds(
    crowds: Sequence[Mapping[str, Any]], found: Sequence[Instance], *, masks: bool
) -> npt.NDArray[np.bool_]:
    """Which instances (n,) lie on a crowd of the truth by half or more."""
    inside = _ious(crowds, found, masks=masks, crowds=True)
    return np.asarray((inside >= MATCH_IOU).any(0), bool)


def _ious(
    objects: Sequence[Mapping[str, Any]],
    found: Sequence[Instance],
    *,
    masks: bool,
    crowds: bool = False,
) -> Floats:
    """IoU (objects, found) of masks, or of boxes where the truth has no masks.

    With `crowds` it is the share of what was found that lies in the object.
    """
    if not objects or not found:
        return np.zeros((len(objects), len(found)))
    if masks:
        shapes: Any = [i.mask.coco for i in found]
        truth: Any = [o["segmentation"] for o in objects]
    else:
        edges = np.array([i.box_xyxy for i in found], float)
        shapes = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1)
        truth = np.array([o["bbox"] for o in objects], float)
    return np.asarray(coco_mask.iou(shapes, truth, [int(crowds)] * len(objects)), float).T


def best_pairs(ious: Floats, same_class: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """One-to-one pairs from IoU 0.50 on; one pair of a class outweighs any across classes."""
    possible = ious >= MATCH_IOU
    worth = np.where(possible, ious + same_class * (1 + min(ious.shape)), 0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if possible[r, c]]
