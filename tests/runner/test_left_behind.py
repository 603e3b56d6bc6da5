"""Nothing half-made stays: not of killed processes, of dead workers, nor of a full disk."""

import errno
import os

import pytest

from annotate.errors import StorageError
from annotate.runner import worker
from tests.small_runs import run, still, tree


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


def test_what_a_worker_that_died_left_is_gone_when_the_run_ends(stills, tmp_path, monkeypatch):
    left = tmp_path / "run/stamps/.part-000000.abc.tmp"
    whole = worker.Worker.run

    def run_and_leave(self, *given):
        whole(self, *given)
        left.write_bytes(b"half")

    monkeypatch.setattr(worker.Worker, "run", run_and_leave)
    run(stills, tmp_path / "run")
    assert left.parent.is_dir() and not left.exists()


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
