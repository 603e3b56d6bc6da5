"""A run folder from elsewhere reads files below its root alone, and says where that is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PilImage

from annotate import export
from annotate.errors import StorageError
from annotate.evaluate import __main__ as evaluate
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report import __main__ as report
from annotate.runner.command import DONE, run_command
from tests.evaluate.squares import CLASSES, H, W, square, still

ESCAPES = ["../secret.png", "a/../../secret.png", "{}/secret.png", "..\\secret.png", "a\0.png",
           "C:\\secret.png", "x" * 5000]  # fmt: skip


def foreign(tmp_path: Path, item: str, media: str = "image") -> Path:
    """A run folder that somebody sent, with a record of an item, and a picture outside its root."""
    (tmp_path / "data").mkdir()
    for name, colour in (("secret.png", "red"), ("data/a.png", "blue")):
        PilImage.new("RGB", (W, H), colour).save(tmp_path / name)
    run = Run.start(tmp_path / "run", tmp_path / "data", CLASSES, {})
    item = item.format(tmp_path)
    record = replace(still(item, square(5, 5)), media=media)
    parquet.write_part(
        run.records_dir,
        "part-0",
        sorted([record, still("a.png", square(5, 5))], key=lambda r: r.item),
    )
    (run.path / "summary.json").write_text('{"status": "done"}')
    return run.path


def secret(tmp_path: Path) -> bytes:
    return (tmp_path / "secret.png").read_bytes()


@pytest.mark.parametrize("media", ["image", "video"])
@pytest.mark.parametrize("item", ESCAPES)
def test_an_item_that_leaves_the_root_is_no_source(tmp_path, item, media):
    run = Run.open(foreign(tmp_path, item, media))
    with pytest.raises(StorageError, match=r"is of no file of the dataset") as caught:
        run.source(item.format(tmp_path), media)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("item", ESCAPES)
@pytest.mark.parametrize(
    ("command", "more"),
    [
        (export._export, ["export.media=link"]),
        (export._export, ["export.media=copy", "export=[yolo_seg]"]),
        (report._report, []),
    ],
)
def test_no_command_reads_it(tmp_path, item, command, more, capsys):
    path = foreign(tmp_path, item)
    assert run_command(command, [f"run={path}", *more]) == DONE
    said = capsys.readouterr().err.splitlines()
    (line,) = (line for line in said if "records are damaged and left out" in line)
    assert line.isprintable()
    assert not [p for p in path.rglob("*.png") if p.read_bytes() == secret(tmp_path)]
    if command is export._export:
        assert len(list(path.glob("exports/*/images/**/*.png"))) >= 1  # the other one


def test_the_root_that_a_run_names_is_said(tmp_path, capsys):
    path = foreign(tmp_path, "b.png")
    truth = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "car"}]}
    truth["annotations"] = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20]}]
    (tmp_path / "t.json").write_text(json.dumps(truth))
    for command, argv in (
        (export._export, []),
        (report._report, []),
        (evaluate._evaluate, [f"truth={tmp_path / 't.json'}"]),
    ):
        assert command([f"run={path}", *argv]) == 0
        said = f"pictures are read below {tmp_path / 'data'}, as {path / 'config.yaml'} has it"
        assert said in capsys.readouterr().err.splitlines()


def test_links_of_the_dataset_are_followed(tmp_path):
    path = foreign(tmp_path, "b.png")
    (tmp_path / "data/b.png").symlink_to(tmp_path / "secret.png")  # as of DVC and git-annex
    assert export._export([f"run={path}", "export=[coco]", "export.media=copy"]) == 0
    copied = path / "exports/coco/images/b.png"
    assert copied.read_bytes() == (tmp_path / "secret.png").read_bytes()
