"""Whole commands that ask the cloud: what they record, how they stop, and what they pay for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image as PilImage

import annotate
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.errors import ConfigError, ServiceError
from annotate.models import __main__ as models_command
from annotate.preview import __main__ as preview_command
from annotate.report.video_writer import VideoWriter
from annotate.runner import job
from annotate.runner.plan import plan
from tests.dds_server import TOKEN, Dds, serve
from tests.ground import dds as cloud
from tests.small_runs import tree
from tests.stores import files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dds(monkeypatch):
    monkeypatch.setenv("DDS_API_TOKEN", TOKEN)
    with serve() as service:
        yield service


def asked(dds: Dds, dataset: Path, out: Path | str, *more: str) -> list[str]:
    """The arguments of a command. Two stills to a part, and two requests at a time."""
    return [
        f"dataset={dataset}", f"out={out}", "prompts=[red,blue]", *cloud.arguments(dds),
        "runner.part_items=2", "ground.calls.at_once=2", "contact_sheet=false", *more,
    ]  # fmt: skip


def settings(dds: Dds, dataset: Path, out: Path | str, *more: str) -> AnnotateCommand:
    return typed(compose(asked(dds, dataset, out, *more), "config"), AnnotateCommand)


def run(dds: Dds, dataset: Path, out: Path | str, *more: str):
    return job.annotate_dataset(settings(dds, dataset, out, *more))


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """`python -m annotate` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "annotate", *arguments],
        cwd=ROOT, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def found_boxes(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    records = annotate.Run.open(folder).frames()
    return {r.frame_id: [i.box_xyxy for i in r.instances] for r in records if r.status == "ok"}


EXPECTED = {f"{n}.png": [(20 + 5 * n, 30, 60 + 5 * n, 80)] for n in range(5)}


def test_a_command_records_what_the_service_found(dds, tmp_path):
    stills, out = cloud.write_stills(tmp_path / "stills", 5), tmp_path / "run"
    PilImage.fromarray(cloud.picture()).save(stills / "two.jpg", quality=100, subsampling=0)
    arguments = [a for a in asked(dds, stills, out) if not a.startswith("ground.endpoint")]
    process = start([*arguments, "contact_sheet=true"], DDS_CLOUDAPI_ENDPOINT=dds.url)
    said, complained = process.communicate(timeout=200)
    assert process.returncode == 0, complained
    boxes = found_boxes(out)
    assert sorted(boxes.pop("two.jpg")) == sorted(map(tuple, cloud.BOXES.values()))
    assert boxes == EXPECTED and dds.paid == 6
    coco = json.loads((out / "exports/coco/annotations/instances_default.json").read_text())
    areas = {a["bbox"][0]: a["area"] for a in coco["annotations"] if a["category_id"] == 1}
    assert areas[25.0] == 40 * 50  # the service's own mask, pixel by pixel
    models = yaml.safe_load((out / "weights.yaml").read_text())
    assert models["ground"]["host"] == "127.0.0.1" and models["ground"]["model"] == "DINO-X-1.0"
    assert "6 requests asked" in (out / "run.log").read_text()
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in said + complained


@pytest.fixture
def whole(dds, tmp_path) -> Path:
    """A run over five stills that nothing disturbed."""
    out = tmp_path / "whole"
    run(dds, cloud.write_stills(tmp_path / "stills", 5), out)
    assert found_boxes(out) == EXPECTED and dds.paid == 5
    return out


def records(folder: Path) -> dict[str, bytes]:
    return tree(folder, "records", "exports")


def test_what_is_done_is_not_paid_again(dds, whole, tmp_path):
    stills = tmp_path / "stills"
    run(dds, stills, whole)
    before = records(whole)
    run(dds, stills, whole, "segment.speck_share=0.01", "on_change=redo")
    assert dds.paid == 5 and records(whole) == before
    assert "5 answers at hand" in (whole / "run.log").read_text()
    run(dds, stills, whole, "segment.speck_share=0.01", "ground.floor=0.2", "on_change=redo")
    assert dds.paid == 10  # another request


def test_a_budget_stops_the_command_and_the_same_one_goes_on(dds, whole, tmp_path):
    stills, out = tmp_path / "stills", tmp_path / "run"
    for paid in (2, 4):
        with pytest.raises(ServiceError, match=r"^ground\.budget=2 is spent"):
            run(dds, stills, out, "ground.budget=2")
        assert dds.paid == 5 + paid
        summary = json.loads((out / "summary.json").read_text())
        assert (summary["status"], summary["exit_code"]) == ("stopped", 2)
        assert summary["error"].startswith("ground.budget=2 is spent: this command has asked 2")
    assert run(dds, stills, out, "ground.budget=2").exit_code == 0
    assert dds.paid == 10 and records(out) == records(whole)


def test_the_end_of_a_budget_is_one_line_and_exit_code_2(dds, tmp_path):
    stills = cloud.write_stills(tmp_path / "stills", 3)
    process = start(asked(dds, stills, tmp_path / "run", "ground.budget=1"))
    _, complained = process.communicate(timeout=200)
    assert process.returncode == 2 and dds.paid == 1
    assert complained.splitlines()[-1].startswith("error: ground.budget=1 is spent: ")


def test_a_command_that_is_killed_pays_for_nothing_twice(dds, whole, tmp_path):
    stills, out = tmp_path / "stills", tmp_path / "run"
    third = cloud.shifted(10)
    dds.fate = lambda image: "endless" if (image == third).all() else "success"
    process = start(asked(dds, stills, out))
    while not any('"task": "' in p.read_text() for p in out.rglob("*.asked")) or dds.paid < 5 + 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert found_boxes(out) != EXPECTED
    dds.fate = lambda image: "success"
    run(dds, stills, out)
    assert dds.paid == 10 and records(out) == records(whole)


def test_a_picture_that_the_service_refuses_is_a_failed_record(dds, whole, tmp_path):
    stills, out = tmp_path / "stills", tmp_path / "run"
    second = cloud.shifted(5)
    dds.fate = lambda image: "failed" if (image == second).all() else "success"
    summary = run(dds, stills, out, "ground.batch=2")
    assert (summary.exit_code, summary.counts.ok, summary.counts.failed) == (3, 4, 1)
    assert summary.counts.failures == [
        {"item": "1.png", "error": "the service's task failed: CUDA out of memory"}
    ]
    assert dds.paid == 10
    dds.fate = lambda image: "success"
    run(dds, stills, out)
    assert dds.paid == 10
    assert run(dds, stills, out, "retry_failed=true").exit_code == 0
    assert dds.paid == 11 and found_boxes(out) == EXPECTED


@pytest.mark.parametrize("fault", ["503", "402", "later"])
def test_a_service_that_is_down_stops_the_run_and_the_same_command_goes_on(dds, tmp_path, fault):
    stills, out = cloud.write_stills(tmp_path / "stills", 5), tmp_path / "run"
    third = cloud.shifted(10)
    dds.fate = lambda image: fault if (image == third).all() else "success"
    with pytest.raises(ServiceError, match="goes on from here"):
        run(dds, stills, out, "ground.calls.retries=1")
    dds.fate = lambda image: "success"
    summary = run(dds, stills, out)
    assert summary.counts.failed == 0 and found_boxes(out) == EXPECTED and dds.paid == 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Six frames of one box that moves."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, size_wh=(200, 100), fps=25, crf=8) as video:
        for t in range(6):
            video.add(cloud.shifted(3 * t), t / 25)
    return path


def test_a_clip_is_tracked_and_its_frames_paid_once(dds, clip, tmp_path):
    run(dds, clip, tmp_path / "run", "ground.every=2")
    paid = dds.paid
    assert 3 <= paid <= 4  # key frames
    tracks = [
        [i.track_id for i in r.instances] for r in annotate.Run.open(tmp_path / "run").frames()
    ]
    assert tracks == [[1]] * 6
    run(dds, clip, tmp_path / "run", "ground.every=2", "track.max_gap=9", "on_change=redo")
    assert dds.paid == paid


def test_a_clip_keeps_the_frames_before_one_that_is_refused(dds, clip, tmp_path):
    """The edge of the box tells the frames apart, which a codec changes a little."""
    dds.fate = lambda image: (
        "failed" if image[50, 30, 0] - int(image[50, 30, 2]) < 50 else "success"
    )
    run(dds, clip, tmp_path / "run", "ground.batch=1")
    found = {r.frame_index: r.status for r in annotate.Run.open(tmp_path / "run").frames()}
    assert found[0] == "ok" and list(found.values()).count("failed") == 1
    assert found[max(found)] == "failed" and max(found) < 5
    dds.fate = lambda image: "success"
    run(dds, clip, tmp_path / "run", "ground.batch=1", "retry_failed=true")
    assert dds.paid == 7  # the one that failed was asked again
    assert len(found_boxes(tmp_path / "run")) == 6


def test_without_a_key_no_folder_is_made(dds, tmp_path, monkeypatch):
    monkeypatch.delenv("DDS_API_TOKEN")
    stills = cloud.write_stills(tmp_path / "stills", 1)
    with pytest.raises(ConfigError, match=r"^DDS_API_TOKEN is not set"):
        run(dds, stills, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_needs_no_key(dds, whole, tmp_path, monkeypatch):
    monkeypatch.delenv("DDS_API_TOKEN")
    assert run(dds, tmp_path / "stills", whole).exit_code == 0


def test_a_budget_is_not_counted_over_many_workers(dds, tmp_path):
    stills = cloud.write_stills(tmp_path / "stills", 1)
    asking = settings(dds, stills, tmp_path / "run", "ground.budget=5", "executor=ray")
    with pytest.raises(ConfigError, match=r"^ground\.budget=5: is counted in one process"):
        plan(asking)


@pytest.mark.usefixtures("quick_store")
def test_a_run_folder_on_a_store_keeps_the_answers_too(dds, tmp_path, monkeypatch):
    stills, out = cloud.write_stills(tmp_path / "stills", 5), f"memory://{tmp_path.name}/run"
    with pytest.raises(ServiceError, match=r"^ground\.budget=3"):
        run(dds, stills, out, "ground.budget=3")
    run(dds, stills, out)
    assert dds.paid == 5
    assert sum(name.startswith("answers/") for name in files(out)) == 5
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    run(dds, stills, out, "segment.speck_share=0.01", "on_change=redo")
    assert dds.paid == 5


def test_models_says_who_answers(dds, monkeypatch, capsys):
    argv = ["action=check", "models=tiny", "ground=dino_x", f"ground.endpoint={dds.url}"]
    monkeypatch.setattr(sys, "argv", ["annotate.models", *argv])
    with pytest.raises(SystemExit) as stop:
        models_command.main()
    assert stop.value.code == 0
    assert "ok: DINO-X-1.0: 127.0.0.1" in capsys.readouterr().out


def test_a_preview_is_paid_once_and_does_without_what_is_refused(
    dds, tmp_path, monkeypatch, capsys
):
    stills, out = cloud.write_stills(tmp_path / "stills", 3), tmp_path / "run"
    second = cloud.shifted(5)
    dds.fate = lambda image: "failed" if (image == second).all() else "success"
    argv = [a for a in asked(dds, stills, out) if "part_items" not in a]
    monkeypatch.setattr(sys, "argv", ["annotate.preview", *argv])
    for paid in (3, 4):  # what is refused is asked for again
        with pytest.raises(SystemExit) as stop:
            preview_command.main()
        assert stop.value.code == 0 and dds.paid == paid
    assert "1.png: the service's task failed" in capsys.readouterr().err
    dds.fate = lambda image: "success"
    assert run(dds, stills, out).exit_code == 0  # an annotation asks down to another score
    assert dds.paid == 7
