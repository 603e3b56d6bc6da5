"""`python -m annotate.evaluate run=DIR truth=FILE`: score a run against ground truth."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotate.command import run_command
from annotate.config import EvaluateCommand, compose, folders, typed
from annotate.errors import ConfigError, StorageError
from annotate.run_folder import Run
from annotate.store import is_url, read_text
from annotate.tracking_metrics import TrackedMask, TrackingScores, combine, count_video
from annotate.types import FrameRecord, Rle


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's average precision, 0..1: over IoU 0.50 to 0.95, and at 0.50."""

    ap: float
    ap50: float


def main() -> None:
    """Print box and mask AP, and where truth and run have videos, the scores of the tracks."""
    sys.exit(run_command(_evaluate, sys.argv[1:]))


def average_precision(run: Run, truth: Path | str) -> dict[str, AveragePrecision]:
    """Box ("bbox") and mask ("segm") AP of every recorded instance on the annotated truth images.

    Frames are matched by `frame_id` (else `file_name`), classes by name. Truth frames that the run
    does not have (videos that were skipped, say) are left out.
    """
    document = read_truth(truth)
    category_ids = {c["name"]: c["id"] for c in document["categories"]}
    unknown = [n for n in run.classes.names if n not in category_ids]
    if len(unknown) == len(run.classes):
        raise ConfigError(f"{truth}: has none of the run's classes ({', '.join(unknown[:5])}, ...)")
    image_ids = {i.get("frame_id") or i.get("file_name"): i["id"] for i in document["images"]}
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    for record in run.frames():
        image_id = image_ids.get(record.frame_id)
        if image_id is None or record.status != "ok":
            continue
        seen.add(image_id)
        for i in record.instances:
            if (category := category_ids.get(run.classes.names[i.class_id])) is None:
                continue
            x0, y0, x1, y1 = i.box_xyxy
            found.append(
                {
                    "image_id": image_id,
                    "category_id": category,
                    "score": i.score,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": {
                        "size": list(i.mask.size_hw),
                        "counts": i.mask.counts.encode("ascii"),
                    },
                }
            )
    document["images"] = [i for i in document["images"] if i["id"] in seen]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in seen]
    # Classes the run was not asked for are none of its misses.
    asked = sorted(category_ids[n] for n in run.classes.names if n in category_ids)
    return {kind: _score(document, found, kind, asked) for kind in ("bbox", "segm")}


def tracking_scores(
    run: Run, truth: Path | str, threshold: float
) -> tuple[TrackingScores, int] | None:
    """Scores of the run's tracks and the number of videos; None where truth and run share none.

    What counts is what an export has: instances from `threshold` on, or from that of their class.
    Judged are the frames that both have; truth gives them a `video_id`, and objects a `track_id`.
    """
    document = read_truth(truth)
    category_ids = {c["name"]: c["id"] for c in document["categories"]}
    images = {i["frame_id"]: i for i in document["images"] if "video_id" in i and "frame_id" in i}
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        if "track_id" in annotation:
            annotations[annotation["image_id"]].append(annotation)
    limits = [threshold if c.threshold is None else c.threshold for c in run.classes.classes]

    def compare(
        records: Iterator[FrameRecord],
    ) -> Iterator[tuple[list[TrackedMask], list[TrackedMask]]]:
        for record in records:
            image = images[record.frame_id]
            yield (
                [
                    TrackedMask(a["track_id"], a["category_id"], _truth_mask(a, image))
                    for a in annotations[image["id"]]
                ],
                [
                    TrackedMask(i.track_id, category, i.mask)
                    for i in record.instances
                    # Scores are stored as float32, in which 0.9 is a little less than 0.9.
                    if np.float32(i.score) >= np.float32(limits[i.class_id])
                    and (category := category_ids.get(run.classes.names[i.class_id])) is not None
                ],
            )

    judged = (r for r in run.frames() if r.status == "ok" and r.frame_id in images)
    videos = [count_video(compare(records)) for _, records in groupby(judged, lambda r: r.item)]
    return (combine(videos), len(videos)) if videos else None


def _truth_mask(annotation: dict[str, Any], image: dict[str, Any]) -> Rle:
    """The mask of an annotation: polygons, or run lengths compressed or not."""
    size_hw = image["height"], image["width"]
    shape = annotation["segmentation"]
    if isinstance(shape, list) or isinstance(shape["counts"], list):
        encoded = coco_mask.frPyObjects(shape, *size_hw)
        shape = coco_mask.merge(encoded) if isinstance(encoded, list) else encoded
    counts = shape["counts"]
    return Rle(counts.decode("ascii") if isinstance(counts, bytes) else counts, size_hw)


def _score(
    document: dict[str, Any], found: Sequence[dict[str, Any]], kind: str, asked: Sequence[int]
) -> AveragePrecision:
    if not found or not document["annotations"]:
        return AveragePrecision(0.0, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        truth = COCO()
        truth.dataset = document
        truth.createIndex()
        # A copy: loadRes adds keys of one kind that would mislead the other.
        scorer = COCOeval(truth, truth.loadRes([dict(f) for f in found]), kind)
        scorer.params.catIds = list(asked)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return AveragePrecision(*(float(np.clip(v, 0, 1)) for v in scorer.stats[:2]))


def read_truth(truth: Path | str) -> dict[str, Any]:
    """Images, annotations and categories of a COCO instances json, by its path or its url.

    Raises ConfigError.
    """
    try:
        text = read_text(truth) if is_url(truth) else Path(truth).read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        return {k: document[k] for k in ("images", "annotations", "categories")}
    except (StorageError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"truth={truth}: not a COCO instances json ({error})") from error


def _evaluate(argv: list[str]) -> int:
    command = typed(compose(argv, "evaluate"), EvaluateCommand)
    run = Run.open(*folders(command.run))
    scores = average_precision(run, command.truth)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        print(f"{name:>4} AP {scores[kind].ap:.3f}  AP50 {scores[kind].ap50:.3f}")
    if tracking := tracking_scores(run, command.truth, command.threshold):
        tracks, videos = tracking
        print(
            f"tracks of {videos} videos: HOTA {tracks.hota:.3f}  DetA {tracks.det_a:.3f}  "
            f"AssA {tracks.ass_a:.3f}  IDF1 {tracks.idf1:.3f}  J {tracks.j:.3f}  "
            f"id switches {tracks.id_switches}"
        )
    return 0


if __name__ == "__main__":
    main()
