"""One writer of a run folder, or one of each shard."""

import re
import subprocess
import sys

import pytest

from annotate.errors import StorageError
from annotate.record import lock
from annotate.runner.units import Shard
from tests.small_runs import run, tree


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


@pytest.mark.parametrize(
    "place", ["unfinished", "exports", "media", "records", "stamps", "run.log", ".lock", "media/a"]
)
@pytest.mark.parametrize("shard", [(), ("shard=1/2",)])
def test_links_out_of_a_run_folder_are_refused(stills, tmp_path, place, shard):
    out, other = tmp_path / "run", tmp_path / "other"
    (out / "media").mkdir(parents=True)
    (other / "part-1").mkdir(parents=True)
    (other / "part-1/precious.txt").write_text("precious")
    link = out / place
    if link.exists():
        link.rmdir()
    link.symlink_to(other / "part-1/precious.txt" if place in ("run.log", ".lock") else other)
    before = tree(tmp_path, "other")
    with pytest.raises(StorageError, match=f"{re.escape(place)}: a link to .*with out=DIR"):
        run(stills, out, *shard)
    assert tree(tmp_path, "other") == before


def test_a_run_folder_may_be_a_link_itself(stills, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run(stills, tmp_path / "run")
    assert run(stills, tmp_path / "run").items["new"] == 0
