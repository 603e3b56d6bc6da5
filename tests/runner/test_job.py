"""The whole job with the tiny models, as users and pipelines run it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage

import annotate
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.decode import read_ahead
from annotate.errors import ConfigError, StorageError
from annotate.evaluate.detection import compare
from annotate.evaluate.truth import read_truth
from annotate.record import parquet
from annotate.report.video_writer import VideoWriter
from annotate.runner import build, job, worker
from annotate.synthetic.clip import Clip
from annotate.synthetic.demo import ensure_demo


@pytest.fixture(scope="module")
def stills(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight demo stills of four sizes, one in a sub-folder, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("flow") / "stills"
    (folder / "sub folder").mkdir(parents=True)
    for index in range(8):
        place = folder / "sub folder" if index == 5 else folder
        shutil.copy(demo / "stills" / f"still_{index:02d}.png", place)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def settings(dataset: Path, out: Path, demo: Path, *more: str) -> AnnotateCommand:
    argv = [f"dataset={dataset}", f"out={out}", f"prompts={demo}/classes.txt", "models=tiny", *more]
    return typed(compose([*argv, "runner.part_items=3"], "config"), AnnotateCommand)


def parts(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in parquet.part_paths(run / "records")}


@pytest.fixture(scope="module")
def finished(stills: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    job.annotate_dataset(settings(stills, out, demo))
    return out


def test_every_item_has_one_record_and_one_bad_file_costs_only_itself(finished, stills):
    found = {r.item: r for r in annotate.Run.open(finished).frames()}
    assert len(found) == 9
    assert found["broken.jpg"].status == "failed" and "cannot decode" in found["broken.jpg"].error
    assert found["sub folder/still_05.png"].status == "ok"
    for name, record in found.items():
        if record.status == "ok":
            assert (record.width, record.height) == PilImage.open(stills / name).size
    assert sum(len(r.instances) for r in found.values()) >= 10


def test_summary_says_what_happened(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("gate_failed", 3)
    assert summary["counts"]["failed"] == 1
    assert summary["counts"]["failures"][0]["item"] == "broken.jpg"
    assert summary["items"] == {"found": 9, "new": 9, "before": 0, "frames": 8}
    assert len(summary["models"]["ground"]["sha256"]) == 64
    assert [e["format"] for e in summary["exports"]] == ["coco", "yolo_seg"]
    assert (finished / "contact_sheet.png").is_file()
    assert "broken.jpg" in (finished / "run.log").read_text()


def test_exports_are_complete(finished):
    coco = json.loads((finished / "exports/coco/annotations/instances_default.json").read_text())
    assert len(coco["images"]) == 8
    for image in coco["images"]:
        with PilImage.open(finished / "exports/coco/images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
    assert (finished / "exports/yolo_seg/data.yaml").is_file()


def test_an_interrupted_run_resumes_to_the_same_bytes(
    finished, stills, demo, tmp_path, monkeypatch
):
    asked = settings(stills, tmp_path / "run", demo)
    whole = read_ahead.read_image
    calls = []

    def interrupting(path, **kwargs):
        calls.append(path)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return whole(path, **kwargs)

    monkeypatch.setattr(read_ahead, "read_image", interrupting)
    with pytest.raises(KeyboardInterrupt):
        job.annotate_dataset(asked)
    monkeypatch.setattr(read_ahead, "read_image", whole)
    before = parts(tmp_path / "run")
    assert 0 < len(before) < len(parts(finished))
    job.annotate_dataset(asked)
    assert parts(tmp_path / "run") == parts(finished)
    coco = Path("exports/coco/annotations/instances_default.json")
    assert (tmp_path / "run" / coco).read_bytes() == (finished / coco).read_bytes()


def test_a_finished_run_is_not_done_again_and_needs_no_model(finished, stills, demo, monkeypatch):
    monkeypatch.setattr(build, "build_pipeline", lambda *_: pytest.fail("models were loaded"))
    before = parts(finished)
    summary = job.annotate_dataset(settings(stills, finished, demo, "threshold=0.5"))
    assert parts(finished) == before
    assert summary.items["before"] == 9
    job.annotate_dataset(settings(stills, finished, demo))


def test_new_files_are_added(stills, demo, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(stills / "still_01.png", data)
    job.annotate_dataset(settings(data, tmp_path / "run", demo))
    shutil.copy(stills / "still_00.png", data)
    summary = job.annotate_dataset(settings(data, tmp_path / "run", demo))
    assert summary.items["new"] == 1
    names = [r.item for r in annotate.Run.open(tmp_path / "run").frames()]
    assert names == ["still_00.png", "still_01.png"]


def test_a_run_asked_otherwise_does_not_mix(finished, stills, demo):
    with pytest.raises(ConfigError, match=r"ground\.nms_iou: was 0\.7, is 0\.5"):
        job.annotate_dataset(settings(stills, finished, demo, "ground.nms_iou=0.5"))


def test_a_refused_command_does_not_bind_the_folder(stills, demo, tmp_path):
    still, out = stills / "still_00.png", tmp_path / "run"
    with pytest.raises(ConfigError, match=r"ground\.floor=2"):
        job.annotate_dataset(settings(still, out, demo, "ground.floor=2"))
    assert job.annotate_dataset(settings(still, out, demo)).exit_code == 0


def test_batches_change_no_class_and_no_mask(finished, stills, demo, tmp_path):
    out = tmp_path / "batched"
    job.annotate_dataset(settings(stills, out, demo, "ground.batch=4", "runner.part_items=9"))
    pairs = zip(annotate.Run.open(finished).frames(), annotate.Run.open(out).frames(), strict=True)
    for one, two in pairs:
        assert one.frame_id == two.frame_id
        assert [i.class_id for i in one.instances] == [i.class_id for i in two.instances]
        for a, b in zip(one.instances, two.instances, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-5)
            mask, other = a.mask.decode(), b.mask.decode()
            assert (mask ^ other).sum() <= 0.01 * mask.sum() + 1


def test_the_demo_is_found(demo, tmp_path):
    job.annotate_dataset(settings(demo, tmp_path / "run", demo, "dataset.kind=images"))
    truth = read_truth(demo / "truth.json", threshold=0.3)
    scores = compare(annotate.Run.open(tmp_path / "run"), truth).overall
    assert scores["bbox"].ap50 > 0.85
    assert scores["segm"].ap50 > 0.8


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 14 frames, and the same one cut off."""
    folder = tmp_path_factory.mktemp("clips") / "clips"
    folder.mkdir()
    clip = Clip(4, (160, 120), combos=[("red", "circle"), ("blue", "triangle")], objects=3)
    with VideoWriter(folder / "whole.mp4", size_wh=(160, 120), fps=25, crf=12) as video:
        for t in range(14):
            video.add(clip.frame(t).image, t / 25)
    data = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    return folder


def test_videos_are_tracked_and_a_damaged_one_says_so(clips, demo, tmp_path):
    summary = job.annotate_dataset(settings(clips, tmp_path / "run", demo))
    run = annotate.Run.open(tmp_path / "run")
    found = [r for r in run.frames() if r.item == "whole.mp4"]
    assert [r.frame_index for r in found] == list(range(14))
    assert found[5].frame_id == "whole.mp4#000005" and found[5].media == "video"
    assert found[5].time_s == pytest.approx(5 / 25, abs=0.001)
    tracks = {i.track_id for r in found for i in r.instances}
    assert tracks and min(tracks) == 1
    assert summary.counts.failed == 1
    assert summary.counts.failures[0]["item"] == "cut.mp4"
    assert not list(run.records_dir.glob("*draft*")), "working files stay behind"
    coco = json.loads((run.path / "exports/coco/annotations/instances_default.json").read_text())
    assert {v["name"] for v in coco["videos"]} >= {"whole.mp4"}
    assert all(a["track_id"] >= 1 for a in coco["annotations"])


def test_a_bad_picture_among_frames_costs_only_itself(clips, demo, tmp_path):
    folder = tmp_path / "frames" / "seq"
    folder.mkdir(parents=True)
    clip = Clip(4, (96, 96), objects=2)
    for t in range(6):
        PilImage.fromarray(clip.frame(t).image).save(folder / f"{t:03d}.png")
    (folder / "002.png").write_bytes(b"no picture")
    asked = settings(tmp_path / "frames", tmp_path / "run", demo, "dataset.kind=frames")
    assert job.annotate_dataset(asked).counts.failed == 1
    found = {r.frame_index: r.status for r in annotate.Run.open(tmp_path / "run").frames()}
    assert found == {0: "ok", 1: "ok", 2: "failed", 3: "ok", 4: "ok", 5: "ok"}


def test_the_demo_does_not_replace_what_is_there(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="in the way of the demo"):
        ensure_demo(tmp_path / "photos")
    assert (tmp_path / "photos" / "precious.txt").read_text() == "mine"


def test_a_damaged_run_folder_is_named(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(StorageError, match=r"config\.yaml: damaged"):
        annotate.Run.open(tmp_path / "run")


def test_a_clip_from_python(clips):
    annotator = annotate.Annotator(models="tiny", prompts=["red circle", "blue triangle"])
    found = annotator.video(clips / "whole.mp4", stride=2)
    assert [r.frame_index for r in found] == list(range(0, 14, 2))
    assert any(i.track_id == 1 for r in found for i in r.instances)


def test_a_video_interrupted_and_resumed_has_the_same_bytes(clips, demo, tmp_path, monkeypatch):
    video = clips / "whole.mp4"
    job.annotate_dataset(settings(video, tmp_path / "whole", demo))
    asked = settings(video, tmp_path / "run", demo)
    whole, calls = worker.open_video, []

    def interrupting(item, **limits):
        opened = whole(item, **limits)

        def frames(**kwargs):
            for frame in opened.frames(**kwargs):
                calls.append(frame.index)
                if len(calls) == 8:
                    raise KeyboardInterrupt
                yield frame

        return SimpleNamespace(frames=frames)

    monkeypatch.setattr(worker, "open_video", interrupting)
    with pytest.raises(KeyboardInterrupt):
        job.annotate_dataset(asked)
    assert list((tmp_path / "run" / "records").iterdir()) == []
    monkeypatch.setattr(worker, "open_video", whole)
    job.annotate_dataset(asked)
    assert parts(tmp_path / "run") == parts(tmp_path / "whole")


def test_a_name_that_is_no_text_is_a_failed_record(stills, demo, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(stills / "still_01.png", data / "good.png")
    shutil.copy(stills / "still_01.png", os.fsencode(data) + b"/bad\xff.png")
    job.annotate_dataset(settings(data, tmp_path / "run", demo))
    found = {r.item: r for r in annotate.Run.open(tmp_path / "run").frames()}
    assert found["good.png"].status == "ok"
    assert "not valid UTF-8" in found["bad\\xff.png"].error


def test_from_python(stills, demo, tmp_path):
    made = annotate.run(
        dataset=stills / "still_00.png",
        prompts=demo / "classes.txt",
        models="tiny",
        out=str(tmp_path / "run"),
        export=["coco"],
    )
    (record,) = made.frames()
    assert made.table().count_rows() == 1
    annotator = annotate.Annotator(models="tiny", prompts=made.classes.names)
    again = annotator.image(stills / "still_00.png")
    assert [i.mask for i in again.instances] == [i.mask for i in record.instances]
    pixels = np.asarray(PilImage.open(stills / "still_00.png"))
    assert annotator.image(pixels).instances[0].mask == record.instances[0].mask


def command(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *argv], cwd=cwd, capture_output=True, text=True, timeout=200
    )


def test_the_command_from_another_directory(stills, tmp_path):
    (tmp_path / "classes.txt").write_text("red circle\nblue triangle\n")
    asked = ["annotate", f"dataset={stills}", "prompts=classes.txt", "models=tiny"]
    done = command(*asked, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "look at: runs/stills/contact_sheet.png" in done.stdout
    assert "look at" not in command(*asked, "contact_sheet=false", cwd=tmp_path).stdout
    assert "gate failed: gates.max_failed is 1, the limit is 0" in done.stdout
    assert "Traceback" not in done.stderr
    again = command(
        "annotate.export", "run=runs/stills", "export=coco", "threshold=0.5", cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert "coco:" in again.stdout


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["annotate", "dataset=nowhere/", "prompts=[a]", "models=tiny"], "no such file or folder"),
        (["annotate", "dataset=.", "prompts=none.txt"], "prompts=none.txt: cannot read it"),
        (["annotate", "dataset=.", "prompts=[a]", "export=[vco]"], "export=vco: no such format"),
        (["annotate.export", "run=nowhere"], "nowhere"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(argv, says, tmp_path):
    done = command(*argv, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
