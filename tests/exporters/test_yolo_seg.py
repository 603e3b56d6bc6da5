"""YOLO labels as Ultralytics itself reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from annotate.data.types import FrameRecord
from annotate.record.run_folder import Run
from annotate.synthetic.canvas import Scene
from exporters.yolo_seg import YoloSeg
from tests.exporters.clips import off_by
from tests.exporters.runs import (
    NASTY_NAMES,
    export_one,
    instance,
    make_run,
    plain,
    record,
    refusals,
    shape_records,
)
from tests.exporters.shapes import SHAPES, H, W
from tests.ultralytics_reader import asked

BRIDGED = "mask whose parts, joined by bridges, keep an IoU below 0.97"
SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}


@pytest.fixture(scope="module")
def ultralytics_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Ultralytics reads from exports of shapes (whole and split) and of nasty names."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("shapes", "split", "nasty")}
    shapes = make_run(folders["shapes"], shape_records())
    split = make_run(folders["split"], shape_records())
    nasty = make_run(folders["nasty"], nasty_records())
    pairs = {
        "shapes": [export_one(shapes, "yolo_seg").path, "train"],
        "nasty": [export_one(nasty, "yolo_seg").path, "train"],
    }
    split_folder = export_one(split, "yolo_seg", split=SPLIT).path
    pairs |= {name: [split_folder, name] for name in SPLIT}
    named = [str(part) for pair in pairs.values() for part in (*pair, "segment")]
    found = asked(*named, config=tmp_path_factory.mktemp("config"))
    answers = dict(zip(pairs, found, strict=True))
    for answer in answers.values():
        assert answer["counts"] == {"missing": 0, "corrupt": 0, "unlabelled": 0}
        assert answer["complaints"] == []
    return answers


def nasty_records() -> list[FrameRecord]:
    """One object per picture, each of another height."""
    masks = np.zeros((len(NASTY_NAMES), H, W), bool)
    for n, mask in enumerate(masks):
        mask[10 : 30 + n, 20:60] = True
    return [
        record(name, [instance(mask, name)]) for name, mask in zip(NASTY_NAMES, masks, strict=True)
    ]


def test_ultralytics_reads_every_object(ultralytics_says: dict[str, dict[str, Any]]) -> None:
    pictures = ultralytics_says["shapes"]["pictures"]
    assert ultralytics_says["shapes"]["empty"] == 1
    assert sum(p["segments"] for p in pictures) == 2 * len(SHAPES)
    expected = {plain(r.item): [i.box_xyxy for i in r.instances] for r in shape_records()}
    assert {p["name"] for p in pictures} == set(expected)
    for p in pictures:
        shares = np.array(p["boxes"]).reshape(-1, 4)
        centre, half = shares[:, :2] * [W, H], shares[:, 2:] * [W, H] / 2
        seen = np.concatenate([centre - half, centre + half], axis=1)
        assert np.abs(seen - np.reshape(expected[p["name"]], (-1, 4))).max(initial=0) <= 1


def test_ultralytics_finds_the_label_of_every_nasty_name(
    ultralytics_says: dict[str, dict[str, Any]],
) -> None:
    pictures = ultralytics_says["nasty"]["pictures"]
    heights = sorted(round(p["boxes"][0][3] * H) for p in pictures)
    assert heights == [20 + n for n in range(len(NASTY_NAMES))]


def test_ultralytics_reads_every_split(ultralytics_says: dict[str, dict[str, Any]]) -> None:
    read = [len(ultralytics_says[split]["pictures"]) for split in SPLIT]
    assert min(read) > 0
    assert sum(read) == len(SHAPES) + 1


def test_data_yaml_works_wherever_the_folder_goes(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "yolo_seg").path
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert data == {
        "train": "images/train",
        "val": "images/train",
        "names": {0: "Fußgänger", 1: "red car"},
    }
    assert (folder / "labels/train/empty.txt").read_bytes() == b""


def test_a_set_that_no_folder_fills_is_replaced_by_a_filled_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("valid/a.jpg"), record("valid/b.jpg")])
    summary = export_one(run, "yolo_seg", split="folders")
    assert summary.per_split == {"val": 2}
    data = yaml.safe_load((summary.path / "data.yaml").read_text())
    assert data["train"] == data["val"] == "images/val"


def test_pictures_too_small_for_ultralytics_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("tiny.png", width=9, height=40), record("big.png")])
    summary = export_one(run, "yolo_seg")
    assert summary.left_out == {"under 10 px": 1}
    assert [p.name for p in (summary.path / "images/train").iterdir()] == ["big.png"]


def test_yolo_has_a_label_file_for_every_frame(
    clips_run: Run, clips: dict[str, list[Scene]]
) -> None:
    folder = export_one(clips_run, "yolo_seg").path
    for item, shown in clips.items():
        for t, scene in enumerate(shown):
            stem = f"{re.sub(r'[^A-Za-z0-9]', '_', item)}_{t:06d}"
            lines = (folder / f"labels/train/{stem}.txt").read_text().splitlines()
            assert [int(line.split()[0]) for line in lines] == [
                o.track_id % 2 for o in scene.objects
            ]
            assert off_by(folder / f"images/train/{stem}.jpg", scene) < 8
    images = {p.with_suffix("").relative_to(folder / "images") for p in folder.rglob("*.jpg")}
    labels = {p.with_suffix("").relative_to(folder / "labels") for p in folder.rglob("*.txt")}
    assert images == labels


def test_options_out_of_their_range_are_refused() -> None:
    assert refusals(YoloSeg, tolerance=-1) == {"tolerance": "Value error, >= 0"}
    assert "finite" in refusals(YoloSeg, tolerance=float("inf"))["tolerance"]
    assert refusals(YoloSeg, tolerance=0.5) == {}


def test_tracks_of_videos_are_counted_as_not_held(clips_run: Run) -> None:
    summary = export_one(clips_run, "yolo_seg")
    count = summary.instances
    assert summary.not_held == {"track id": count, "score": count, BRIDGED: 3}
    assert export_one(clips_run, "coco").not_held == {}


def test_of_stills_all_but_scores_is_held(shapes_run: Run) -> None:
    summary = export_one(shapes_run, "yolo_seg")
    assert summary.not_held == {"score": summary.instances, BRIDGED: 2}  # and that is said
