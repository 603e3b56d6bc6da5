"""Whole runs with boxes that are there already."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.errors import AnnotateError
from annotate.runner.job import annotate_dataset


@pytest.fixture
def data(demo: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("stills/still_00.png", "stills/still_01.png", "clips/clip_00.mp4"):
        shutil.copy(demo / name, folder)
    return folder


def truth_of(demo: Path, folder: Path, **change) -> Path:
    """The demo's truth by the names that its copies have."""
    truth = json.loads((demo / "truth.json").read_text())
    for image in truth["images"]:
        for key in ("file_name", "frame_id"):
            image[key] = image[key].rpartition("/")[2]
    for video in truth.get("videos", ()):
        video["name"] = video["name"].rpartition("/")[2]
    path = folder / "boxes.json"
    path.write_text(json.dumps(truth))
    return path


def run(demo: Path, data: Path, file: Path, out: Path, *more: str) -> int:
    """The exit code."""
    asked = [
        f"dataset={data}", f"prompts={demo / 'classes.txt'}", f"out={out}", "models=tiny",
        "device=cpu", "ground=boxes", f"ground.file={file}", "contact_sheet=false", *more,
    ]  # fmt: skip
    return annotate_dataset(typed(compose(asked, "config"), AnnotateCommand)).exit_code


@pytest.mark.parametrize("segment", ["none", "tiny"])
def test_masks_of_a_file_come_out_as_they_went_in(demo, data, tmp_path, segment):
    file = truth_of(demo, tmp_path)
    out = tmp_path / "run"
    assert run(demo, data, file, out, f"segment={segment}") == 0
    truth = json.loads(file.read_text())
    name_of = {image["id"]: image["frame_id"] for image in truth["images"]}
    wanted: dict[str, set] = {}
    for a in truth["annotations"]:
        if not a["iscrowd"]:
            wanted.setdefault(name_of[a["image_id"]], set()).add(a["segmentation"]["counts"])
    records = pq.read_table(out / "records").to_pylist()
    assert {r["status"] for r in records} == {"ok"} and len(records) > 10
    same = total = 0
    for record in records:
        masks = {i["mask"] for i in record["instances"] if i["origin"] == "detected"}
        known = wanted.get(record["frame_id"], set())
        assert masks <= known
        same, total = same + len(masks), total + len(known)
    assert same >= 0.95 * total  # objects seen too briefly are no tracks


def test_a_picture_that_the_file_does_not_know_fails_alone(demo, data, tmp_path):
    file = truth_of(demo, tmp_path)
    shutil.copy(data / "still_00.png", data / "unknown.png")
    assert run(demo, data, file, tmp_path / "run", "segment=none") == 3
    records = pq.read_table(tmp_path / "run" / "records").to_pylist()
    (failed,) = [r for r in records if r["status"] == "failed"]
    assert failed["item"] == "unknown.png" and "has no picture of this name" in failed["error"]


def test_another_file_is_another_run_and_a_moved_one_is_not(demo, data, tmp_path):
    file, out = truth_of(demo, tmp_path), tmp_path / "run"
    assert run(demo, data, file, out, "segment=none") == 0
    moved = file.rename(tmp_path / "moved.json")
    assert run(demo, data, moved, out, "segment=none") == 0
    moved.write_text(moved.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    shutil.copy(data / "still_00.png", data / "more.png")
    with pytest.raises(AnnotateError, match="on_change"):
        run(demo, data, moved, out, "segment=none")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("nothing.json", "no such file or folder"),
        ("classes.txt", r"neither a \.json \(COCO\), an \.xml \(CVAT\) nor a folder"),
    ],
)
def test_what_is_no_file_of_boxes_is_told_before_a_run_begins(demo, data, tmp_path, file, words):
    (tmp_path / "classes.txt").touch()
    with pytest.raises(AnnotateError, match=rf"ground\.file=.*{words}"):
        run(demo, data, tmp_path / file, tmp_path / "run")
    assert not (tmp_path / "run").exists()
