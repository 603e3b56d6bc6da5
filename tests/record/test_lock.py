"""One writer of a run folder, or one of each shard."""

import subprocess
import sys

import pytest

from annotate.errors import StorageError
from annotate.record import lock
from annotate.runner.units import Shard


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
