"""A run goes on from wherever it was left, and knows when it must not."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

import annotate
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.decode import read_ahead
from annotate.decode.video import Video
from annotate.errors import ConfigError, StorageError
from annotate.record import checkpoint, lock, parquet, versions
from annotate.report.video_writer import VideoWriter
from annotate.runner import job, worker
from annotate.runner.units import Shard
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.track.tracks import Track

CLASSES = ["red circle", "blue triangle"]


def settings(dataset: Path, out: Path, *more: str) -> AnnotateCommand:
    argv = [
        f"dataset={dataset}", f"out={out}", "prompts=[red circle,blue triangle]", "models=tiny",
        "runner.part_items=2", "contact_sheet=false", *more,
    ]  # fmt: skip
    return typed(compose(argv, "config"), AnnotateCommand)


def run(dataset: Path, out: Path, *more: str):
    return job.annotate_dataset(settings(dataset, out, *more))


def still(path: Path, seed: int) -> Path:
    PilImage.fromarray(draw_still(seed, (96, 96), combos=[("red", "circle")]).image).save(path)
    return path


def tree(folder: Path, *parts: str) -> dict[str, bytes]:
    """Every file below some folders of a run, links as what they lead to."""
    paths = (p for part in parts for p in sorted((folder / part).rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    for seed in range(5):
        still(folder / f"{seed}.png", seed)
    return folder


def test_a_changed_file_is_redone_and_the_others_are_not(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    still(stills / "1.png", 77)
    os.utime(stills / "1.png", ns=(1, 1))
    read, asked = read_ahead.read_image, []
    monkeypatch.setattr(
        read_ahead, "read_image", lambda path, **kw: asked.append(path.name) or read(path, **kw)
    )
    result = run(stills, tmp_path / "run")
    assert asked == ["1.png"]
    assert result.changes["changed"] == 1
    run(stills, tmp_path / "fresh")
    assert list(annotate.Run.open(tmp_path / "run").frames()) == list(
        annotate.Run.open(tmp_path / "fresh").frames()
    )


def test_a_removed_file_is_reported_and_its_record_stays(stills, tmp_path):
    run(stills, tmp_path / "run")
    (stills / "3.png").unlink()
    result = run(stills, tmp_path / "run")
    assert result.changes["removed_items"] == ["3.png"]
    assert result.exit_code == 0
    assert "3.png" in {r.item for r in annotate.Run.open(tmp_path / "run").frames()}


def test_failed_items_are_retried_when_asked(stills, tmp_path):
    good = (stills / "2.png").read_bytes()
    (stills / "2.png").write_bytes(b"torn")
    assert run(stills, tmp_path / "run").exit_code == 3
    known = (stills / "2.png").stat()
    (stills / "2.png").write_bytes(good)
    assert run(stills, tmp_path / "run").exit_code == 0, "it changed, so it is done anyway"
    (stills / "2.png").write_bytes(b"torn")
    os.utime(stills / "2.png", ns=(known.st_atime_ns, known.st_mtime_ns))
    assert run(stills, tmp_path / "run").counts.failed == 1
    again = run(stills, tmp_path / "run", "retry_failed=true")
    assert (again.changes["retried"], again.items["new"]) == (1, 1)
    assert run(stills, tmp_path / "run").items["new"] == 0


def test_another_fingerprint_stops_and_shows_every_difference(stills, tmp_path):
    run(stills, tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        run(stills, tmp_path / "run", "ground.floor=0.2", "track.max_gap=7")
    assert "ground.floor: was 0.1, is 0.2; track.max_gap: was 30, is 7" in str(caught.value)
    assert "on_change=redo" in str(caught.value) and "\n" not in str(caught.value)


def test_another_program_version_is_another_fingerprint(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    monkeypatch.setattr(versions, "program", lambda: "99.0")
    with pytest.raises(ConfigError, match=r"version: was '.*', is '99\.0'"):
        run(stills, tmp_path / "run")


def test_what_only_touches_exports_is_no_other_fingerprint(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    more = ("threshold=0.6", "export=coco", "'export.split={train: 0.5, val: 0.5}'"[1:-1])
    assert run(stills, tmp_path / "run", *more).items["new"] == 0
    assert tree(tmp_path / "run", "records") == before


def test_redo_makes_the_records_anew_in_place(stills, tmp_path):
    run(stills, tmp_path / "run")
    result = run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo")
    assert result.items["new"] == 5
    run(stills, tmp_path / "fresh", "ground.floor=0.2")
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "fresh", "records")


def test_new_begins_a_folder_beside_and_goes_on_there(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    asked = ("ground.floor=0.2", "on_change=new")
    assert run(stills, tmp_path / "run", *asked).run == str(tmp_path / "run-2")
    again = run(stills, tmp_path / "run", *asked)
    assert (again.run, again.items["new"]) == (str(tmp_path / "run-2"), 0)
    assert tree(tmp_path / "run", "records") == before


def test_other_weights_are_another_fingerprint(stills, tmp_path):
    run(stills, tmp_path / "run")
    made = annotate.Run.open(tmp_path / "run")
    weights = made.weights()
    weights["ground"]["sha256"] = "0" * 64
    with pytest.raises(ConfigError, match=r"ground\.sha256: was .*, is '0000"):
        made.made_with(weights, {})
    assert made.made_with(weights, {}, redo=True)
    assert parquet.part_paths(made.records_dir) == []


def test_other_versions_of_libraries_are_noted_and_stop_nothing(stills, tmp_path, monkeypatch):
    first = run(stills, tmp_path / "run").libraries
    assert {"torch", "transformers", "sam2"} <= first.keys()
    assert all(len(known) == 1 for known in first.values())
    still(stills / "9.png", 9)
    later = {**versions.libraries(), "torch": "99.0"}
    monkeypatch.setattr(versions, "libraries", lambda: later)
    assert run(stills, tmp_path / "run").libraries["torch"] == [*first["torch"], "99.0"]
    assert run(stills, tmp_path / "run").libraries["sam2"] == first["sam2"]
    assert "torch 99.0 now, records before were made with" in (tmp_path / "run/run.log").read_text()
    assert run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo").libraries == {
        name: ["99.0"] if name == "torch" else known for name, known in first.items()
    }


def test_a_refused_run_leaves_the_summary_of_the_one_before(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    still(stills / "9.png", 9)
    before = (tmp_path / "run/summary.json").read_bytes()
    weights = (tmp_path / "run/weights.yaml").read_text()
    (tmp_path / "run/weights.yaml").write_text(weights.replace("sha256: ", "sha256: 0"))
    with pytest.raises(ConfigError, match="sha256"):
        run(stills, tmp_path / "run")
    assert (tmp_path / "run/summary.json").read_bytes() == before


def test_a_second_writer_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from annotate.record.lock import one_writer\n"
        "with one_writer(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert owner.stdout.readline() == b"held\n"
    with pytest.raises(StorageError, match="another process is writing"), lock.one_writer(tmp_path):
        pass
    owner.kill()
    owner.communicate()
    with lock.one_writer(tmp_path):
        pass


def test_shards_work_side_by_side_but_not_beside_a_whole_run(tmp_path):
    one, two = Shard(1, 2), Shard(2, 2)
    with lock.one_writer_of_shard(tmp_path, one), lock.one_writer_of_shard(tmp_path, two):
        for taken in (lock.one_writer(tmp_path), lock.one_writer_of_shard(tmp_path, one)):
            with pytest.raises(StorageError, match="another process"), taken:
                pass


def test_shards_of_one_folder_make_the_parts_of_a_whole_run(stills, tmp_path):
    (stills / "2.png").write_bytes(b"torn")
    run(stills, tmp_path / "whole")
    results = [run(stills, tmp_path / "run", f"shard={k}/2") for k in (2, 1)]
    assert [r.exit_code for r in results] == [3, 0] or [r.exit_code for r in results] == [0, 3]
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "whole", "records")
    assert not (tmp_path / "run" / "exports").exists()
    assert (tmp_path / "run" / "summary-2-of-2.json").is_file()
    last = run(stills, tmp_path / "run")
    assert last.items["new"] == 0
    assert tree(tmp_path / "run", "exports") == tree(tmp_path / "whole", "exports")


def test_shards_in_folders_of_their_own_are_read_together(stills, tmp_path):
    run(stills, tmp_path / "whole")
    for k in (1, 2):
        run(stills, tmp_path / f"part{k}", f"shard={k}/2")
    made = annotate.Run.open(tmp_path / "part1", tmp_path / "part2")
    assert list(made.frames()) == list(annotate.Run.open(tmp_path / "whole").frames())
    assert made.table().count_rows() == 5
    command = [
        "annotate.export",
        f"run=[{tmp_path}/part1,{tmp_path}/part2]",
        "export=[coco,yolo_seg]",
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "part1", "exports") == tree(tmp_path / "whole", "exports")


def test_folders_that_do_not_belong_together_are_refused(stills, tmp_path):
    run(stills, tmp_path / "a", "shard=1/2")
    run(stills, tmp_path / "b", "shard=1/2")
    run(stills, tmp_path / "c", "shard=2/2", "ground.floor=0.2")
    with pytest.raises(ConfigError, match=r"'0\.png' is in .*a and in .*b"):
        annotate.Run.open(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ConfigError, match=r"no part of the run .*ground\.floor"):
        annotate.Run.open(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_shard_that_cannot_be(text, stills, tmp_path):
    with pytest.raises(ConfigError, match=r"expected K/N"):
        run(stills, tmp_path / "run", f"shard={text}")


def test_more_shards_than_units_leave_some_without_work(stills, tmp_path):
    result = run(stills, tmp_path / "run", "shard=8/8")
    assert (result.exit_code, result.items["found"]) == (0, 0)


def test_what_a_killed_process_left_is_cleaned_away(stills, tmp_path):
    run(stills, tmp_path / "run")
    left = [
        "records/.part-1.abc.tmp", ".summary.abc.tmp", "exports/.coco.abc.tmp/images/x.jpg",
        "media/a/.clip.abc.tmp", "stamps/.part-1.abc.tmp", "unfinished/part-9/drafts.parquet",
    ]  # fmt: skip
    for name in left:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    still(stills / "9.png", 9)
    run(stills, tmp_path / "run")
    assert not any((tmp_path / "run" / name).exists() for name in left)


def test_an_interruption_is_in_the_summary(stills, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.parquet, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(stills, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 130)
    assert summary["items"]["before"] == 0


@pytest.mark.parametrize("when", [2, 4, 9, 12])
def test_a_full_disk_is_one_line_and_costs_nothing_that_was_done(
    when, stills, tmp_path, monkeypatch
):
    run(stills, tmp_path / "whole")
    fsync, calls = os.fsync, []

    def refusing(handle):
        calls.append(handle)
        if len(calls) == when:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refusing)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        run(stills, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not [p for p in (tmp_path / "run").rglob("*.tmp")]
    run(stills, tmp_path / "run")
    for part in ("records", "exports"):
        assert tree(tmp_path / "run", part) == tree(tmp_path / "whole", part)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_that_is_deep_in_foreign_code(number, tmp_path):
    """Where Python cannot tell the main thread of it, as in a pass of a large model."""
    script = (
        "import ctypes, signal, sys; from annotate.runner.command import run_command; "
        "from annotate.runner import interrupt\n"
        "def busy(argv):\n"
        "    with interrupt.last_words(lambda: print('last words', flush=True)):\n"
        # Blocked here, the signal arrives in another thread, and sleep() goes on.
        "        signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.SIGNALS)\n"
        "        told = False\n"
        "        while True:\n"
        "            try:\n"
        "                if not told:\n"
        "                    told = True\n"  # first: the signal may come with the line
        "                    print('busy', flush=True)\n"
        "                ctypes.CDLL(None).sleep(600)\n"
        "            except KeyboardInterrupt:\n"
        "                pass\n"
        "sys.exit(run_command(busy, []))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == "last words\n"
    assert err.strip() == "interrupted; the same command continues from here"


def test_gates_are_judged_and_named(stills, demo, tmp_path):
    result = run(stills, tmp_path / "run", "gates.min_annotated_share=1", "threshold=1")
    assert (result.exit_code, result.status) == (3, "gate_failed")
    failed = [(g.name, g.value, g.limit) for g in result.gates if not g.passed]
    assert failed == [("gates.min_annotated_share", 0.0, 1)]
    with pytest.raises(ConfigError, match=r"gates\.min_map needs ground truth"):
        run(stills, tmp_path / "run", "gates.min_map=0.5")
    other = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "giraffe"}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"none of the run's classes .* but giraffe"):
        run(stills, tmp_path / "none", "gates.min_map=0.5", f"gates.truth={tmp_path}/other.json")
    assert not (tmp_path / "none").exists()


def test_gates_against_ground_truth(demo, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(demo / "stills", data / "stills", ignore=lambda _, n: sorted(n)[4:])
    argv = [
        f"dataset={data}", f"out={tmp_path / 'run'}", f"prompts={demo}/classes.txt", "models=tiny",
        f"gates.truth={demo}/truth.json", "export=[]", "contact_sheet=false",
    ]  # fmt: skip
    asked = [*argv, "gates.min_map=0.3", "gates.min_hota=0.2"]
    result = job.annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    passed = {gate.name: gate.passed for gate in result.gates}
    assert passed == {"gates.max_failed": True, "gates.min_map": True, "gates.min_hota": False}
    assert result.exit_code == 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["gates"][1]["value"] > 0.3


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    scene = Clip(4, (96, 96), combos=[("red", "circle"), ("blue", "triangle")], objects=3)
    with VideoWriter(path, size_wh=(96, 96), fps=25, crf=12) as video:
        for t in range(24):
            video.add(scene.frame(t).image, t / 25)
    return path


@pytest.mark.parametrize("every", [1, 5])
def test_a_video_goes_on_from_its_last_checkpoint(every, clip, tmp_path, monkeypatch):
    asked = (f"ground.every={every}", "runner.checkpoint_frames=6")
    run(clip, tmp_path / "whole", *asked)
    whole, starts, read = Video.frames, [], []

    def interrupted(self, *, stride, start):
        starts.append(start)
        for frame in whole(self, stride=stride, start=start):
            read.append(frame.index)
            if len(read) == 21:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Video, "frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(clip, tmp_path / "run", *asked)
    assert len(list((tmp_path / "run/unfinished").glob("*/state-*"))) == 1
    run(clip, tmp_path / "run", *asked)
    assert starts[0] == 0 and starts[1] >= 6, "it began again at frame 0"
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "whole", "records")
    assert not (tmp_path / "run/unfinished").exists()


def test_a_checkpoint_made_otherwise_is_another_fingerprint(clip, tmp_path, monkeypatch):
    whole = Video.frames

    def interrupted(self, *, stride, start):
        for frame in whole(self, stride=stride, start=start):
            if frame.index == 12:
                raise KeyboardInterrupt
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(Video, "frames", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(clip, tmp_path / "run", "runner.checkpoint_frames=4")
    with pytest.raises(ConfigError, match=r"track\.max_gap: was 30, is 7"):
        run(clip, tmp_path / "run", "track.max_gap=7")
    run(clip, tmp_path / "run", "track.max_gap=7", "on_change=redo")
    run(clip, tmp_path / "fresh", "track.max_gap=7")
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "fresh", "records")


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_working_files_of_a_video_that_is_done_go(clip, tmp_path, removed):
    run(clip, tmp_path / "run")
    (part,) = parquet.part_paths(tmp_path / "run/records")
    left = tmp_path / "run/unfinished" / part.stem
    left.mkdir(parents=True)
    (left / "drafts-000000.parquet").write_bytes(b"")
    # A process may be killed anywhere on the way of removing them.
    for step in (left / "drafts-000000.parquet").unlink, left.rmdir:
        if removed:
            step()
            removed -= 1
    run(clip, tmp_path / "run")
    assert not left.parent.exists()


def test_a_checkpoint_of_a_video_that_changed_is_of_no_use(clip, tmp_path, monkeypatch):
    data = tmp_path / "clip.mp4"
    shutil.copy(clip, data)
    whole = Video.frames

    def interrupted(self, *, stride, start):
        for frame in whole(self, stride=stride, start=start):
            if frame.index == 12:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Video, "frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", "runner.checkpoint_frames=4")
    os.utime(data, ns=(1, 1))
    starts = []

    def noting(self, *, stride, start):
        starts.append(start)
        return whole(self, stride=stride, start=start)

    monkeypatch.setattr(Video, "frames", noting)
    run(data, tmp_path / "run", "runner.checkpoint_frames=4")
    assert starts == [0]


def test_a_state_has_no_pickle_and_comes_back_as_it_was(tmp_path):
    track = Track(3, last_seen=7, placed=6, box=np.array([1.5, 2, 3, 4.25]), beside={2, 5})
    track.hit(1, "red circle", 0.1 + 0.2, sure=True)
    state = {"tracks": {3: track}, "logits": torch.arange(4.0)[::2], "score": np.float32(0.1)}
    checkpoint.save(tmp_path / "state", state)
    found = checkpoint.load(tmp_path / "state", [Track], torch.device("cpu"))
    assert repr(found) == repr(state)
    assert type(found["score"]) is np.float32
    assert checkpoint.load(tmp_path / "state", [], torch.device("cpu")) is None, "an unknown class"
    (tmp_path / "state").write_bytes(b"torn")
    assert checkpoint.load(tmp_path / "state", [Track], torch.device("cpu")) is None
    with pytest.raises(TypeError, match="cannot hold a PosixPath"):
        checkpoint.save(tmp_path / "state", Path())


def test_what_a_worker_that_died_left_is_gone_when_the_run_ends(stills, tmp_path, monkeypatch):
    left = tmp_path / "run/stamps/.part-000000.abc.tmp"
    whole = worker.Worker.run

    def run_and_leave(self, *given):
        whole(self, *given)
        left.write_bytes(b"half")

    monkeypatch.setattr(worker.Worker, "run", run_and_leave)
    run(stills, tmp_path / "run")
    assert left.parent.is_dir() and not left.exists()
