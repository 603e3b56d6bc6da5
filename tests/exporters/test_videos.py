"""Exports of videos: frames as pictures, tracks as ids, one decoding pass, nothing torn apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

import exporters.staging
from annotate.data.geometry import encode_masks
from annotate.data.names import frame_name, plan_names
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.errors import ConfigError, StorageError
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.video_writer import VideoWriter
from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from tests.exporters.test_exporters import export_one, files_below, options, read_coco, record

W, H, FRAMES = 96, 64, 12
CLASSES = ClassList((ClassSpec("thing", ("thing",)), ClassSpec("other", ("other",))))


def scenes(seed: int, frames: int = FRAMES) -> list[Scene]:
    clip = Clip(seed, (W, H))
    return [clip.frame(t) for t in range(frames)]


def write_clip(path: Path, shown: Sequence[Scene]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, size_wh=(W, H), fps=25) as writer:
        for t, scene in enumerate(shown):
            writer.add(scene.image, t / 25)


def frame_record(item: str, index: int, scene: Scene, **fields: Any) -> FrameRecord:
    frame_id = f"{item}#{index:06d}"
    instances = tuple(
        Instance(
            instance_id=f"{frame_id}/{shown.track_id}",
            class_id=shown.track_id % 2,
            phrase="thing",
            score=0.5,
            box_xyxy=tuple(float(v) for v in shown.box_xyxy),
            mask=Rle(encode_masks(shown.mask[None])[0], (H, W)),
            area=shown.area,
            mask_score=0.75,
            track_id=shown.track_id,
        )
        for shown in scene.objects
    )
    known = {"width": W, "height": H, "status": "ok"} | fields
    return FrameRecord(frame_id, item, "video", index, index / 25, **known, instances=instances)


def make_run(folder: Path, clips: dict[str, list[Scene]], stride: int = 1) -> Run:
    """A run of videos, of a still where all of them lie, and of nothing else."""
    run = Run(path=folder / "run", root=folder / "data", classes=CLASSES)
    rows = [record("clips/still.jpg", width=W, height=H)]
    for item, shown in clips.items():
        write_clip(run.root / item, shown)
        rows += [frame_record(item, t, scene) for t, scene in enumerate(shown) if t % stride == 0]
    (run.root / "clips").mkdir(parents=True, exist_ok=True)
    PilImage.new("RGB", (W, H)).save(run.root / "clips/still.jpg")
    parquet.write_part(run.records_dir, "part-0", rows)
    return run


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Scene]]:
    return {"clips/a.mp4": scenes(1), "clips/b c.mp4": scenes(2)}


@pytest.fixture
def run(tmp_path: Path, clips: dict[str, list[Scene]]) -> Run:
    return make_run(tmp_path, clips)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def off_by(path: Path, scene: Scene) -> float:
    with PilImage.open(path) as staged:
        assert staged.format == "JPEG"
        return float(np.abs(np.asarray(staged).astype(int) - scene.image).mean())


def test_coco_holds_videos_frames_and_tracks(run: Run, clips: dict[str, list[Scene]]) -> None:
    summary = export_one(run, "coco", coco_masks="rle")
    document = read(summary.path / "instances.json")
    assert document["videos"] == [
        {"id": 1, "name": "clips/a.mp4", "width": W, "height": H},
        {"id": 2, "name": "clips/b c.mp4", "width": W, "height": H},
    ]
    assert (summary.images, summary.left_out) == (2 * FRAMES + 1, {})
    images = {i["id"]: i for i in document["images"]}
    names = {v["id"]: v["name"] for v in document["videos"]}
    still = next(i for i in images.values() if i["frame_id"] == "clips/still.jpg")
    assert not {"video_id", "frame_index"} & still.keys()
    for image in images.values():
        if image is still:
            continue
        item, index = names[image["video_id"]], image["frame_index"]
        assert image["frame_id"] == f"{item}#{index:06d}"
        assert image["file_name"] == f"{item}/{index:06d}.jpg"
        assert off_by(summary.path / "images" / image["file_name"], clips[item][index]) < 8
    tracks: dict[tuple[str, int], list[int]] = {}
    for a in document["annotations"]:
        image = images[a["image_id"]]
        place = names[image["video_id"]], image["frame_index"]
        tracks.setdefault(place, []).append(a["track_id"])
    assert tracks == {
        (item, t): [o.track_id for o in scene.objects]
        for item, shown in clips.items()
        for t, scene in enumerate(shown)
        if scene.objects
    }
    masks = {k: [i.mask for i in v] for k, v in read_coco(summary.path / "instances.json").items()}
    assert masks == {r.frame_id: [i.mask for i in r.instances] for r in run.frames()}


def test_an_export_of_stills_says_nothing_of_videos(tmp_path: Path) -> None:
    path = export_one(make_run(tmp_path, {}), "coco").path / "instances.json"
    assert read(path).keys() == {"info", "licenses", "categories", "images", "annotations"}


def test_yolo_has_a_label_file_for_every_frame(run: Run, clips: dict[str, list[Scene]]) -> None:
    folder = export_one(run, "yolo_seg").path
    for item, shown in clips.items():
        for t, scene in enumerate(shown):
            lines = (folder / f"labels/train/{item}/{t:06d}.txt").read_text().splitlines()
            assert [int(line.split()[0]) for line in lines] == [
                o.track_id % 2 for o in scene.objects
            ]
            assert off_by(folder / f"images/train/{item}/{t:06d}.jpg", scene) < 8
    images = {p.with_suffix("").relative_to(folder / "images") for p in folder.rglob("*.jpg")}
    labels = {p.with_suffix("").relative_to(folder / "labels") for p in folder.rglob("*.txt")}
    assert images == labels


def test_a_rerun_writes_the_same_bytes(run: Run) -> None:
    first = files_below(export_one(run, "coco").path)
    assert files_below(export_one(run, "coco").path) == first


@pytest.mark.parametrize("name", ["coco", "yolo_seg"])
def test_every_nth_annotated_frame_is_exported(
    tmp_path: Path, clips: dict[str, list[Scene]], name: str
) -> None:
    run = make_run(tmp_path, clips, stride=2)  # annotated: 0 2 4 6 8 10
    summary = export_one(run, name, frames_stride=4)
    below = summary.path / "images" / ("train" if name == "yolo_seg" else "")
    found = sorted(p.relative_to(below).as_posix() for p in below.rglob("*.jpg"))
    frames = [f"{item}/{t:06d}.jpg" for item in clips for t in (0, 8)]
    assert found == sorted([*frames, "clips/still.jpg"])
    assert summary.left_out == {"between frames_stride": 8}


def test_a_video_is_never_torn_apart(tmp_path: Path) -> None:
    clips = {f"clips/{n}.mp4": scenes(n, 3) for n in range(8)}
    split = {"train": 0.5, "val": 0.5}
    summary = export_one(make_run(tmp_path, clips), "coco", split=split)
    homes = {}
    for part in split:
        document = read(summary.path / f"instances_{part}.json")
        used = {i["video_id"] for i in document["images"] if "video_id" in i}
        assert used == {v["id"] for v in document["videos"]}
        for video in document["videos"]:
            assert video["name"] not in homes
            homes[video["name"]] = part
            assert (summary.path / "images" / part / video["name"] / "000002.jpg").is_file()
    assert homes.keys() == clips.keys()
    assert set(homes.values()) == set(split)


def test_without_media_no_video_is_opened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(exporters.staging, "open_video")
    shutil.rmtree(run.root)
    summary = export_one(run, "coco", media="none")
    assert summary.images == 2 * FRAMES + 1
    assert not (summary.path / "images").exists()


def test_videos_that_went_or_changed_are_counted(tmp_path: Path) -> None:
    names = ["gone", "other size", "shorter", "torn", "torn within"]
    run = make_run(tmp_path, {f"clips/{name}.mp4": scenes(n) for n, name in enumerate(names)})
    (run.root / "clips/gone.mp4").unlink()
    with VideoWriter(run.root / "clips/other size.mp4", size_wh=(32, 32), fps=25) as writer:
        writer.add(np.zeros((32, 32, 3), np.uint8), 0)
    write_clip(run.root / "clips/shorter.mp4", scenes(2, 5))
    (run.root / "clips/torn.mp4").write_bytes(b"not a video")
    within = run.root / "clips/torn within.mp4"
    within.write_bytes(within.read_bytes()[: within.stat().st_size * 3 // 4])
    for name in ("coco", "yolo_seg"):
        summary = export_one(run, name)
        read_within = len(list(summary.path.rglob("torn within.mp4/*.jpg")))
        assert 0 < read_within < FRAMES
        assert summary.images == 1 + 5 + read_within
        assert summary.left_out == {
            "changed": FRAMES + FRAMES - 5,
            "missing": FRAMES,
            "unreadable": FRAMES + FRAMES - read_within,
        }


def test_when_every_video_is_gone_the_earlier_export_stays(run: Run) -> None:
    folder = export_one(run, "coco").path
    shutil.rmtree(run.root)
    with pytest.raises(StorageError, match="none of the run's 25 pictures"):
        export_one(run, "coco")
    assert (folder / "images/clips/a.mp4/000000.jpg").is_file()


def test_a_video_that_failed_half_way_is_exported_up_to_there(
    tmp_path: Path, clips: dict[str, list[Scene]]
) -> None:
    run = make_run(tmp_path, clips)
    damage = frame_record("clips/z.mp4", 1, clips["clips/a.mp4"][0], status="failed", error="torn")
    write_clip(run.root / "clips/z.mp4", clips["clips/a.mp4"])
    kept = frame_record("clips/z.mp4", 0, clips["clips/a.mp4"][0])
    parquet.write_part(run.records_dir, "part-1", [kept, damage])
    summary = export_one(run, "coco")
    assert (summary.images, summary.left_out) == (2 * FRAMES + 2, {"failed": 1})
    assert [p.name for p in (summary.path / "images/clips/z.mp4").iterdir()] == ["000000.jpg"]


# --- folders of frames


@pytest.mark.parametrize("media", ["link", "copy"])
def test_jpegs_of_a_folder_are_taken_as_they_are_and_others_written(
    tmp_path: Path, media: str
) -> None:
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
    assert [p.name for p in staged] == [f"{t:06d}.jpg" for t in range(4)]
    assert [p.is_symlink() for p in staged] == [media == "link", False, False, media == "link"]
    assert staged[3].read_bytes() == (folder / "11.jpg").read_bytes()
    assert all(off_by(p, scene) < 4 for p, scene in zip(staged, shown, strict=True))
    assert summary.left_out == {"missing": 1}


# --- names


@pytest.mark.parametrize("labelled", [True, False])
def test_folders_of_videos_hold_nothing_else(labelled: bool) -> None:
    videos = ["a.mp4", "A.mp4", "x/images", "images", "v", "v/w", "../out.mp4", "n" * 256, ".h.mp4"]
    stills = ["v/000003.jpg", "a.mp4/000001.jpg", "x/000001.jpg", "v/deeper/1.jpg", "images.jpg"]
    names = plan_names(stills, videos, labelled=labelled, suffix_for=staged_suffix)
    assert names.keys() == {*stills, *videos}
    assert names["v/w"] == "v/w"
    assert names["x/000001.jpg"] == "x/000001.jpg"
    folders = [names[video] for video in videos]
    assert len({f.casefold() if labelled else f for f in folders}) == len(videos)
    for still in stills:
        parent = str(Path(names[still]).parent)
        assert (parent.casefold() if labelled else parent) not in folders
        assert names[still] not in folders
    for name in names.values():
        parts = Path(name).parts
        assert ".." not in parts
        assert all(len(part.encode()) <= 255 for part in parts)
        assert not (labelled and ("images" in parts or any(p.startswith(".") for p in parts)))
    assert frame_name(names["v"], 1234567) == "v/1234567.jpg"


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="frames_stride=0"):
        options(frames_stride=0)
