"""YOLO's boxes and oriented boxes: what the masks say, and as Ultralytics itself reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from annotate.record.run_folder import Run
from exporters.yolo_obb import smallest_rectangle
from tests.exporters.runs import export_one, instance, make_run, plain, record, shape_records
from tests.exporters.shapes import SHAPES, H, W
from tests.ultralytics_reader import asked

TASKS = {"yolo": "detect", "yolo_obb": "obb"}


@pytest.fixture(scope="module")
def ultralytics_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    run = make_run(tmp_path_factory.mktemp("shapes"), shape_records())
    folders = {name: export_one(run, name).path for name in TASKS}
    named = [str(v) for name, task in TASKS.items() for v in (folders[name], "train", task)]
    answers = asked(*named, config=tmp_path_factory.mktemp("config"))
    return dict(zip(TASKS, answers, strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_ultralytics_reads_every_object(
    ultralytics_says: dict[str, dict[str, Any]], name: str
) -> None:
    said = ultralytics_says[name]
    assert said["counts"] == {"missing": 0, "corrupt": 0, "unlabelled": 0}
    assert said["complaints"] == [] and said["empty"] == 1
    assert sum(len(p["boxes"]) for p in said["pictures"]) == 2 * len(SHAPES)
    expected = {plain(r.item): [i.box_xyxy for i in r.instances] for r in shape_records()}
    for picture in said["pictures"]:
        shares = np.array(picture["boxes"]).reshape(-1, 4)
        centre, half = shares[:, :2] * [W, H], shares[:, 2:] * [W, H] / 2
        seen = np.concatenate([centre - half, centre + half], axis=1)
        boxes = np.reshape(expected[picture["name"]], (-1, 4))
        if name == "yolo":
            assert np.abs(seen - boxes).max(initial=0) <= 0.01
        else:  # the box of a turned rectangle holds the object, or ends with the picture
            inside = np.clip(boxes, 0, [W, H, W, H])
            assert (seen[:, :2] <= inside[:, :2] + 0.01).all()
            assert (seen[:, 2:] >= inside[:, 2:] - 0.01).all()


def test_an_oriented_box_is_the_smallest_rectangle(tmp_path: Path) -> None:
    turned = cv2.boxPoints(((60, 50), (60, 20), 30))
    mask = cv2.fillPoly(np.zeros((H, W), np.uint8), [turned.round().astype(np.int32)], 1) > 0
    run = make_run(tmp_path, [record("a.jpg", [instance(mask, "a")])])
    summary = export_one(run, "yolo_obb")
    assert summary.not_held == {"mask": 1, "score": 1}
    (line,) = (summary.path / "labels/train/a.txt").read_text().splitlines()
    class_id, *shares = line.split()
    corners = np.array(shares, float).reshape(4, 2) * [W, H]
    sides = sorted(np.linalg.norm(np.roll(corners, -1, 0) - corners, axis=1))
    assert class_id == "0"
    # Corners of pixels lie up to 0.7 px further out than the outline that was filled.
    np.testing.assert_allclose(sides, [22, 22, 62, 62], atol=1)
    ys, xs = np.nonzero(mask)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):  # every corner of every pixel
        points = np.stack([xs + dx, ys + dy], 1).astype(np.float32)
        ring = corners.astype(np.float32)
        assert min(cv2.pointPolygonTest(ring, tuple(map(float, p)), True) for p in points) > -0.01


def test_a_corner_outside_the_picture_is_moved_to_its_edge_and_counted(tmp_path: Path) -> None:
    mask = np.zeros((H, W), bool)
    for n in range(60):  # a diagonal band from the corner
        mask[n, max(0, n - 6) : n + 6] = True
    run = make_run(tmp_path, [record("a.jpg", [instance(mask, "a")])])
    summary = export_one(run, "yolo_obb")
    assert summary.not_held == {"corner outside the picture": 1, "mask": 1, "score": 1}
    shares = np.array((summary.path / "labels/train/a.txt").read_text().split()[1:], float)
    assert shares.min() == 0 and shares.max() <= 1


def test_boxes_hold_no_masks_and_no_tracks(clips_run: Run) -> None:
    for name in TASKS:
        summary = export_one(clips_run, name)
        assert summary.not_held["track id"] == summary.not_held["mask"] == summary.instances


def test_a_rectangle_of_one_pixel_is_that_pixel() -> None:
    corners = smallest_rectangle(np.array([[3, 4], [4, 4], [4, 5], [3, 5]], np.int32))
    assert sorted(map(tuple, corners.round(4).tolist())) == [(3, 4), (3, 5), (4, 4), (4, 5)]
