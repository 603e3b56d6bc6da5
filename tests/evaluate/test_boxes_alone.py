"""A run of boxes without masks is judged by its boxes, whatever the truth has."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from annotate.data.geometry import encode_box
from annotate.data.types import Instance, Rle
from annotate.evaluate.evaluation import evaluate
from annotate.evaluate.truth import read_truth
from annotate.record import parquet
from annotate.record.run_folder import Run
from tests.evaluate.squares import CLASSES, H, W, clip, square


def boxed(x: float, y: float, side: float, track: int) -> Instance:
    box = x, y, x + side, y + side
    counts, area = encode_box(box, (H, W))
    return replace(square(1, 1, track=track), box_xyxy=box, mask=Rle(counts, (H, W)), area=area)


def run_of(tmp_path: Path, *frames: list[Instance]) -> Run:
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    parquet.write_part(run.records_dir, "part-000000", clip(*frames))
    return run


def truth_of_thin_objects(tmp_path: Path, frames: int) -> Path:
    """Diagonal slivers, whose masks fill little of their boxes."""
    images = [
        {"id": t + 1, "frame_id": f"v.mp4#{t:06d}", "file_name": "v", "width": W, "height": H}
        for t in range(frames)
    ]
    annotations = [
        {
            "id": 2 * t + track, "image_id": t + 1, "category_id": 1, "track_id": track,
            "segmentation": [[x, y, x + 3, y, x + 20, y + 20, x + 17, y + 20]],
            "bbox": [x, y, 20, 20],
        }
        for t in range(frames)
        for track, x, y in ((1, 5, 5), (2, 45, 30))
    ]  # fmt: skip
    path = tmp_path / "truth.json"
    categories = [{"id": 1, "name": "car"}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def test_boxes_are_judged_as_boxes_and_their_tracks_too(tmp_path, caplog):
    run = run_of(tmp_path, *[[boxed(5.2, 5.1, 20, 1), boxed(45.4, 29.7, 20, 2)]] * 4)
    truth = read_truth(truth_of_thin_objects(tmp_path, 4), threshold=0.3)
    assert truth.has_masks and not truth.by_masks(run)
    judged = evaluate(run, truth, 0.3)
    assert judged.average_precision.keys() == {"bbox"}
    assert judged.rates.right == 8 and judged.confusion[0] == [8, 0]
    assert judged.tracks.idf1 == 1 and judged.tracks.id_switches == 0
    assert judged.tracks.j == pytest.approx(0.95, abs=0.05)
    assert "has boxes alone, no masks: it is judged by them" in caplog.text


def test_one_mask_that_is_no_box_is_enough_for_masks(tmp_path):
    thin = replace(boxed(5.2, 5.1, 20, 1), area=100)
    run = run_of(tmp_path, [thin, boxed(45.4, 29.7, 20, 2)])
    truth = read_truth(truth_of_thin_objects(tmp_path, 1), threshold=0.3)
    assert truth.by_masks(run)
    assert evaluate(run, truth, 0.3).average_precision.keys() == {"bbox", "segm"}
