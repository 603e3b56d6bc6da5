"""Which pictures an export holds, and in which of its splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from annotate.errors import ConfigError
from annotate.record import parquet
from annotate.synthetic.canvas import Scene
from tests.exporters.clips import FRAMES, frame_record, make_clips_run, read, scenes, write_clip
from tests.exporters.runs import (
    COCO,
    export_one,
    files_below,
    instance,
    make_run,
    picture,
    pictures_of,
    record,
)
from tests.exporters.shapes import H, W


def test_failed_and_vanished_and_changed_pictures_are_left_out(tmp_path: Path) -> None:
    whole = np.ones((H, W), bool)
    names = ["changed.jpg", "gone.jpg", "good.jpg", "torn.jpg"]
    rows = [record(name, [instance(whole, name)]) for name in names]
    failed = record("failed.jpg", status="failed", error="cannot decode", width=0, height=0)
    run = make_run(tmp_path, [*rows, failed])
    (run.root / "gone.jpg").unlink()
    picture(run.root / "changed.jpg", (W + 1, H))
    (run.root / "torn.jpg").write_bytes(b"not a picture")
    for name in ("coco", "yolo_seg"):
        summary = export_one(run, name)
        assert (summary.images, summary.instances) == (1, 1)
        assert summary.left_out == {"changed": 1, "failed": 1, "missing": 1, "unreadable": 1}
    (image,) = read(run.path / "exports/coco" / COCO)["images"]
    assert image["file_name"] == "good.jpg"


def test_a_folder_is_never_torn_apart(tmp_path: Path) -> None:
    rows = [record(f"clip {n % 12}/{n}.jpg") for n in range(60)]
    rows += [record(f"loose {n}.jpg") for n in range(40)]
    run = make_run(tmp_path, rows)
    summary = export_one(run, "coco", split={"train": 0.6, "val": 0.4})
    assert set(summary.per_split) == {"train", "val"}
    assert sum(summary.per_split.values()) == 100
    homes: dict[str, set[str]] = {}
    ids: list[int] = []
    for split in ("train", "val"):
        document = json.loads((summary.path / f"annotations/instances_{split}.json").read_text())
        assert len(document["images"]) == summary.per_split[split]
        for image in document["images"]:
            assert image["file_name"] == image["source"]
            assert (summary.path / "images" / image["file_name"]).is_file()
            homes.setdefault(str(Path(image["source"]).parent), set()).add(split)
            ids.append(image["id"])
    assert homes.pop(".") == {"train", "val"}
    assert all(len(splits) == 1 for splits in homes.values())
    assert sorted(ids) == list(range(1, 101))


def test_sets_that_folders_are_named_for_are_kept(tmp_path: Path) -> None:
    names = ["train/a.jpg", "train/b.jpg", "val/a.jpg", "spare/c.jpg"]
    run = make_run(tmp_path, [record(name) for name in names])
    for name in ("coco", "yolo_seg"):
        summary = export_one(run, name, split="folders")
        assert summary.per_split == {"train": 2, "val": 1}
        assert summary.left_out == {"in no folder of a set": 1}


def test_an_export_of_what_nobody_decided_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("a.jpg")])
    folder = export_one(run, "coco").path
    before = files_below(folder)
    for only in ("accepted", "reviewed"):
        with pytest.raises(ConfigError, match=f"only={only}: nothing in .* was {only} yet"):
            export_one(run, "coco", only=only)
    assert files_below(folder) == before


def test_a_video_is_never_torn_apart(tmp_path: Path) -> None:
    clips = {f"clips/{n}.mp4": scenes(n, 3) for n in range(8)}
    split = {"train": 0.5, "val": 0.5}
    summary = export_one(make_clips_run(tmp_path, clips), "coco", split=split)
    homes = {}
    for part in split:
        document = read(summary.path / f"annotations/instances_{part}.json")
        used = {i["video_id"] for i in document["images"] if "video_id" in i}
        assert used == {v["id"] for v in document["videos"]}
        for video in document["videos"]:
            assert video["name"] not in homes
            homes[video["name"]] = part
            assert (summary.path / "images" / video["name"] / "000002.jpg").is_file()
    assert homes.keys() == clips.keys()
    assert set(homes.values()) == set(split)


@pytest.mark.parametrize("name", ["coco", "yolo_seg"])
def test_every_nth_annotated_frame_is_exported(
    tmp_path: Path, clips: dict[str, list[Scene]], name: str
) -> None:
    run = make_clips_run(tmp_path, clips, stride=2)  # annotated: 0 2 4 6 8 10
    summary = export_one(run, name, frames_stride=4)
    found = pictures_of(Path(summary.path))
    frames = [f"{item}#{t:06d}" for item in clips for t in (0, 8)]
    assert sorted(found.values()) == sorted([*frames, "clips/still.jpg"])
    assert all((summary.path / "images" / picture).is_file() for picture in found)
    assert summary.left_out == {"between frames_stride": 8}


def test_a_video_that_failed_half_way_is_exported_up_to_there(
    tmp_path: Path, clips: dict[str, list[Scene]]
) -> None:
    run = make_clips_run(tmp_path, clips)
    damage = frame_record("clips/z.mp4", 1, clips["clips/a.mp4"][0], status="failed", error="torn")
    write_clip(run.root / "clips/z.mp4", clips["clips/a.mp4"])
    kept = frame_record("clips/z.mp4", 0, clips["clips/a.mp4"][0])
    parquet.write_part(run.records_dir, "part-1", [kept, damage])
    summary = export_one(run, "coco")
    assert (summary.images, summary.left_out) == (2 * FRAMES + 2, {"failed": 1})
    assert [p.name for p in (summary.path / "images/clips/z.mp4").iterdir()] == ["000000.jpg"]
