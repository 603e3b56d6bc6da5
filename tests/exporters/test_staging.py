"""Pictures as they lie in an export: linked, copied, or written for trainers to read."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

import exporters.staging
from annotate.data.types import Item
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.video_writer import VideoWriter
from exporters.staging import stage_frames
from tests.exporters.clips import (
    CLASSES,
    FRAMES,
    frame_record,
    make_clips_run,
    off_by,
    read,
    scenes,
    write_clip,
)
from tests.exporters.runs import export_one, make_run, picture, record
from tests.exporters.shapes import SHAPES, H, W

FRAME_FILES = ("8.jpg", "9.png", "10.jpg", "11.jpg")


def test_a_turned_picture_is_written_upright(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("turned.jpg"), record("upright.jpg")])
    exif = PilImage.Exif()
    exif[0x0112] = 6
    picture(run.root / "turned.jpg", (H, W), exif=exif)
    folder = export_one(run, "coco").path / "images"
    assert (folder / "upright.jpg").samefile(run.root / "upright.jpg")
    assert not (folder / "turned.jpg").samefile(run.root / "turned.jpg")
    with PilImage.open(folder / "turned.jpg") as staged:
        assert staged.size == (W, H)
        assert 0x0112 not in staged.getexif()
        seen = np.asarray(staged.convert("RGB")).astype(int)
    assert np.abs(seen - read_image(run.root / "turned.jpg")).mean() < 4


def test_deep_pictures_are_exported_as_they_were_annotated(tmp_path: Path) -> None:
    """By the scale the run was asked for; in a folder of frames, by one for all of them."""
    deep = np.linspace(0, 1000, W * H).reshape(H, W).astype(np.uint16)
    run = make_run(tmp_path, [record("a.png"), record("colour.tif")])
    PilImage.fromarray(deep).save(run.root / "a.png")
    cv2.imwrite(str(run.root / "colour.tif"), np.dstack([deep] * 3).astype(np.float32))
    folder = export_one(replace(run, depth=(0, 2000)), "coco").path / "images"
    for name in ("a.png", "colour.tif"):
        with PilImage.open(folder / name) as staged:
            seen = np.asarray(staged)
        assert np.array_equal(seen, read_image(run.root / name, depth=(0, 2000)))
        assert seen.max() == 128
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(3):
        PilImage.fromarray(deep * (n + 1)).save(frames / f"{n}.png")
    records = [replace(record("frames"), media="video", frame_index=n) for n in range(3)]
    staged = stage_frames(frames, records, lambda r: tmp_path / f"{r.frame_index}.png", how="copy")
    assert [reason for _, reason in staged] == [""] * 3
    for frame in open_video(Item("frames", frames, "video")).frames():
        assert np.array_equal(read_image(tmp_path / f"{frame.index}.png"), frame.image)
        assert frame.image.max() == pytest.approx(1000 * (frame.index + 1) / 4095 * 255, abs=1)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "I;16"), ("a.png", "RGBA"), ("a.png", "P"), ("a.jpg", "CMYK"), ("a.tif", "I;16")],
)
def test_modes_that_trainers_misread_are_written_as_rgb(
    tmp_path: Path, name: str, mode: str
) -> None:
    run = make_run(tmp_path, [record(name)])
    grey = np.linspace(0, 65535, W * H).reshape(H, W).astype(np.uint16)
    if mode == "I;16":
        PilImage.fromarray(grey).save(run.root / name)
    else:
        PilImage.fromarray((grey >> 8).astype(np.uint8)).convert("RGB").convert(mode).save(
            run.root / name
        )
    staged = export_one(run, "coco").path / "images" / name
    with PilImage.open(staged) as opened:
        assert opened.mode == "RGB"
        seen = np.asarray(opened).astype(int)
    assert np.abs(seen - read_image(run.root / name)).max() <= (8 if name == "a.jpg" else 0)


def test_a_jpeg_without_its_end_is_copied_so_that_no_trainer_repairs_the_original(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, [record("a.jpg")])
    with (run.root / "a.jpg").open("ab") as file:
        file.write(b"trailer")
    staged = export_one(run, "yolo_seg").path / "images/train/a.jpg"
    assert not staged.samefile(run.root / "a.jpg")
    assert staged.read_bytes() == (run.root / "a.jpg").read_bytes()


@pytest.mark.parametrize("media", ["copy", "none"])
def test_media_can_be_copied_or_left(shapes_run: Run, media: str) -> None:
    folder = export_one(shapes_run, "coco", media=media).path
    staged = sorted((folder / "images").rglob("*.jpg"))
    assert len(staged) == (len(SHAPES) + 1 if media == "copy" else 0)
    assert all(p.stat().st_nlink == 1 for p in staged)


def test_where_links_are_impossible_pictures_are_copied(
    shapes_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    folder = export_one(shapes_run, "coco").path
    assert sum(p.is_file() for p in (folder / "images").iterdir()) == len(SHAPES) + 1


def test_without_media_no_video_is_opened(clips_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(exporters.staging, "open_video")
    shutil.rmtree(clips_run.root)
    summary = export_one(clips_run, "coco", media="none")
    assert summary.images == 2 * FRAMES + 1
    assert not (summary.path / "images").exists()


def test_videos_that_went_or_changed_are_counted(tmp_path: Path) -> None:
    names = ["gone", "other size", "shorter", "torn", "torn within"]
    run = make_clips_run(tmp_path, {f"clips/{name}.mp4": scenes(n) for n, name in enumerate(names)})
    (run.root / "clips/gone.mp4").unlink()
    with VideoWriter(run.root / "clips/other size.mp4", size_wh=(32, 32), fps=25) as writer:
        writer.add(np.zeros((32, 32, 3), np.uint8), 0)
    write_clip(run.root / "clips/shorter.mp4", scenes(2, 5))
    (run.root / "clips/torn.mp4").write_bytes(b"not a video")
    within = run.root / "clips/torn within.mp4"
    within.write_bytes(within.read_bytes()[: within.stat().st_size * 3 // 4])
    for name in ("coco", "yolo_seg"):
        summary = export_one(run, name)
        read_within = len(list(summary.path.rglob("*torn?within*/*.jpg"))) or len(
            list(summary.path.rglob("*torn?within*.jpg"))
        )
        assert 0 < read_within < FRAMES
        assert summary.images == 1 + 5 + read_within
        assert summary.left_out == {
            "changed": FRAMES + FRAMES - 5,
            "missing": FRAMES,
            "unreadable": FRAMES + FRAMES - read_within,
        }


@pytest.mark.parametrize("media", ["link", "copy"])
def test_frames_of_a_folder_are_taken_as_they_are(tmp_path: Path, media: str) -> None:
    shown = scenes(3, 4)
    run = Run(path=tmp_path / "run", root=tmp_path / "data", classes=CLASSES)
    folder = run.root / "walk"
    folder.mkdir(parents=True)
    turned = PilImage.Exif()
    turned[0x0112] = 3
    PilImage.fromarray(shown[0].image).save(folder / "8.jpg", quality=97)
    PilImage.fromarray(shown[1].image).save(folder / "9.png")
    PilImage.fromarray(shown[2].image[::-1, ::-1]).save(folder / "10.jpg", quality=97, exif=turned)
    PilImage.fromarray(shown[3].image).save(folder / "11.jpg", quality=97)
    rows = [frame_record("walk", t, scene) for t, scene in enumerate(shown)]
    rows.append(frame_record("walk", 4, shown[0]))
    parquet.write_part(run.records_dir, "part-0", rows)
    summary = export_one(run, "coco", media=media)
    staged = sorted((summary.path / "images/walk").iterdir())
    names = ["000000.jpg", "000001.png", "000002.jpg", "000003.jpg"]
    assert [p.name for p in staged] == names
    linked = [p.samefile(folder / n) for p, n in zip(staged, FRAME_FILES, strict=True)]
    assert linked == [media == "link", media == "link", False, media == "link"]
    assert staged[1].read_bytes() == (folder / "9.png").read_bytes(), "without loss"
    document = read(summary.path / "annotations/instances_default.json")
    assert [i["source"] for i in document["images"]] == [f"walk/{name}" for name in FRAME_FILES]
    assert staged[3].read_bytes() == (folder / "11.jpg").read_bytes()
    assert all(off_by(p, scene) < 4 for p, scene in zip(staged, shown, strict=True))
    assert summary.left_out == {"missing": 1}


def test_without_media_pictures_have_the_names_of_their_files(tmp_path: Path) -> None:
    shown = scenes(3, 2)
    run = Run(path=tmp_path / "run", root=tmp_path / "data", classes=CLASSES)
    folder = run.root / "walk"
    folder.mkdir(parents=True)
    for number, scene in zip((3, 50), shown, strict=True):  # they neither begin at 0 nor follow
        PilImage.fromarray(scene.image).save(folder / f"{number:06}.png")
    rows = [frame_record("walk", t, scene) for t, scene in enumerate(shown)]
    parquet.write_part(run.records_dir, "part-0", rows)
    summary = export_one(run, "coco", media="none")
    document = read(summary.path / "annotations/instances_default.json")
    names = [i["file_name"] for i in document["images"]]
    assert names == [i["source"] for i in document["images"]]
    assert names == ["walk/000003.png", "walk/000050.png"]
