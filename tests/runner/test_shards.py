"""Shards of a dataset, in one run folder or in several."""

import subprocess
import sys

import pytest

import annotate
from annotate.errors import ConfigError
from tests.small_runs import run, tree


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
