"""A video goes on from its last checkpoint, if that is of any use."""

import os
import shutil
from pathlib import Path

import pytest

from annotate.decode.video import Video
from annotate.errors import ConfigError
from annotate.record import parquet
from annotate.report.video_writer import VideoWriter
from annotate.synthetic.clip import Clip
from tests.small_runs import run, tree


def stopping_at_12(video, *, stride, start, frames=Video.frames):
    """Frames of a video until, at number 12, somebody stops the run."""
    for frame in frames(video, stride=stride, start=start):
        if frame.index == 12:
            raise KeyboardInterrupt
        yield frame


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
    with monkeypatch.context() as patch:
        patch.setattr(Video, "frames", stopping_at_12)
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
    monkeypatch.setattr(Video, "frames", stopping_at_12)
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
