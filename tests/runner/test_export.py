"""`python -m annotate.export`: whole runs, and what is said of those that are not."""

import json
import shutil

import pytest

from annotate import export
from annotate.errors import AnnotateError, ConfigError
from annotate.runner import worker
from annotate.runner.summary import what_is_missing
from tests.exporters.runs import COCO
from tests.small_runs import run, tree


def break_off(stills, folder, monkeypatch, after: int) -> None:
    """A run that is interrupted when it has written some parts."""
    write, written = worker.parquet.write_part, []

    def interrupted(*args, **kwargs):
        if len(written) == after:
            raise KeyboardInterrupt
        write(*args, **kwargs)
        written.append(args)

    with monkeypatch.context() as broken:
        broken.setattr(worker.parquet, "write_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(stills, folder)


def test_an_interrupted_run_is_exported_as_partial_and_beside(
    stills, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    run(stills, out, "export=[coco]")
    earlier = tree(out, "exports")
    shutil.rmtree(out / "records")
    break_off(stills, out, monkeypatch, after=1)
    with pytest.raises(ConfigError, match=r"interrupted at [24] of 5 items; .* partial=true"):
        export._export([f"run={out}", "export=[coco]"])
    assert tree(out, "exports") == earlier
    assert export._export([f"run={out}", "export=[coco]", "partial=true"]) == 0
    assert "partial: " in capsys.readouterr().out
    assert tree(out, "exports/coco") == earlier
    found = json.loads((out / "exports/coco-partial" / COCO).read_text())
    assert len(found["images"]) == 2
    run(stills, out, "export=[]")
    assert export._export([f"run={out}", "export=[coco]"]) == 0


def test_a_killed_run_is_not_whole(stills, tmp_path):
    run(stills, tmp_path / "run")
    assert what_is_missing(tmp_path / "run") == ""
    (tmp_path / "run" / "summary.json").unlink()
    assert what_is_missing(tmp_path / "run").endswith("has not come to its end")


def test_a_run_is_whole_when_all_its_shards_are(stills, tmp_path):
    run(stills, tmp_path / "a", "shard=1/2")
    assert what_is_missing(tmp_path / "a") == "1 of 2 shards are done"
    run(stills, tmp_path / "b", "shard=2/2")
    assert what_is_missing(tmp_path / "a", tmp_path / "b") == ""


def test_a_run_whose_export_was_refused_is_whole(stills, tmp_path):
    (stills.parent / "one").mkdir()
    (stills / "0.png").rename(stills.parent / "one" / "0.png")
    with pytest.raises(AnnotateError, match="cannot fill 2 sets"):
        run(stills.parent / "one", tmp_path / "run", "export.split={train: 0.8, val: 0.2}")
    assert what_is_missing(tmp_path / "run") == ""
    assert export._export([f"run={tmp_path}/run", "export=[coco]"]) == 0


def test_what_a_split_came_to_is_printed(stills, tmp_path, capsys):
    run(stills, tmp_path / "run")
    argv = [f"run={tmp_path}/run", "export=[coco]", "export.split={train: 0.6, val: 0.4}"]
    assert export._export(argv) == 0
    line = capsys.readouterr().out
    assert " instances on 5 images (train " in line and ", val " in line


def test_exports_are_read_back_on_request(stills, tmp_path, capsys):
    out = tmp_path / "run"
    run(stills, out, "export=[]")
    asked = [f"run={out}", "export=[coco,voc,boxes]", "check=true"]
    with pytest.raises(ConfigError, match="export=boxes: no such format"):
        export._export(asked)
    asked[1] = "export=[coco,voc]"
    assert export._export(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" finds ")[0][:16] for line in lines[-2:]] == [
        "check: coco: pyc", "check: voc: torc",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="check=true: tools read labels with their pictures"):
        export._export([*asked, "export.media=none"])


def test_an_export_that_is_not_as_it_should_be_is_exit_code_3(
    stills, tmp_path, capsys, monkeypatch
):
    from exporters.coco import Coco

    out = tmp_path / "run"
    run(stills, out, "export=[]")
    monkeypatch.setattr(Coco, "promised_iou", 1.01)
    assert export._export([f"run={out}", "export=[coco]", "check=true"]) == 3
    assert "check failed: coco: " in capsys.readouterr().out
