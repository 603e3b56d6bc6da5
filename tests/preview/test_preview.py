"""`annotate preview`: words and thresholds on a few pictures, and the command that follows."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from annotate import __main__
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList, ClassSpec, Frame, Item
from annotate.preview.__main__ import _preview
from annotate.preview.look import Look, Phrases
from annotate.preview.sweep import Sweep
from annotate.runner.command import run_command
from tests.small_runs import draw_stills

CLASSES = ClassList(
    (
        ClassSpec("car", ("car", "red car"), negatives=("toy",)),
        ClassSpec("dog", ("dog",), threshold=0.6),
    )
)


def look(*rows: tuple[float, int, int, bool]) -> Look:
    """Of boxes with score, phrase, class, and whether it is the best of its class there."""
    scores, phrases, classes, best = (np.array(column) for column in zip(*rows, strict=True))
    frame = Frame(Item("a.png", Path("a.png")), np.zeros((10, 10, 3), np.uint8))
    boxes = np.tile(np.float32([1, 1, 5, 5]), (len(rows), 1))
    return Look(frame, boxes, scores.astype(np.float32), phrases, classes, best)


def test_every_phrase_is_asked_by_itself_with_the_negatives_of_its_class():
    phrases = Phrases.of(CLASSES)
    assert (phrases.texts, phrases.class_of) == (("car", "red car", "dog"), (0, 0, 1))
    alone = phrases.alone(CLASSES).classes
    assert [spec.phrases for spec in alone] == [("car",), ("red car",), ("dog",)]
    assert [spec.negatives for spec in alone] == [("toy",), ("toy",), ()]
    assert len({spec.name for spec in alone}) == 3


def test_the_sweep_counts_boxes_of_classes_once_and_of_phrases_each():
    sweep = Sweep(CLASSES, Phrases.of(CLASSES), 0.3)
    sweep.add(look((0.8, 1, 0, True), (0.7, 0, 0, False), (0.45, 2, 1, True)))
    sweep.add(look((0.12, 0, 0, True), (0.3, 1, 0, True)))
    lines = sweep.table(0.3).splitlines()
    assert "0.3*" in lines[0] and "2 pictures" in lines[-1]
    car, own, red, dog = (re.findall(r"[\d.]+", line) for line in lines[1:5])
    assert car == ["3", "2", "2", "2", "2", "1", "1", "1", "0.80"]
    assert own == ["2", "1", "1", "1", "1", "1", "1", "1", "0.70", "0"]
    assert red == ["2", "2", "2", "2", "2", "1", "1", "1", "0.80", "2"]
    assert dog == ["1", "1", "1", "1", "1", "1", "0", "0", "0.45"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_stills(tmp_path_factory.mktemp("preview") / "data")


def test_a_preview_draws_and_names_the_command_that_goes_on(data, tmp_path, capsys):
    prompts = tmp_path / "my classes.yaml"
    prompts.write_text("- name: round\n  phrases: [red circle, circle]\n- blue triangle\n")
    argv = [f"dataset={data}", f"prompts={prompts}", "models=tiny", f"out={tmp_path}/run",
            "threshold=0.35", "n=3"]  # fmt: skip
    assert run_command(_preview, argv) == 0
    out = capsys.readouterr().out
    assert "on 3 pictures" in out and "0.35*" in out and "  red circle" in out
    with PilImage.open(tmp_path / "run" / "preview.png") as sheet:
        assert sheet.width > 400 and sheet.height > 300
    (line,) = (line for line in out.splitlines() if line.startswith("to annotate with this: "))
    _, *chosen = shlex.split(line.partition(": ")[2])
    assert chosen == argv[:-1]
    made = typed(compose(chosen, "config"), AnnotateCommand)
    assert (made.threshold, made.prompts) == (0.35, str(prompts))
    assert not (tmp_path / "run" / "records").exists()
    assert run_command(__main__._annotate, [*chosen, "limit=2"]) == 0  # its folder is free to use


@pytest.mark.parametrize(
    ("argument", "said"), [("n=0", "n=0: expected >= 1"), ("m=3", "m: no such key"), ("n=x", "n=x")]
)
def test_what_is_wrong_is_one_line(data, capsys, argument, said):
    assert run_command(_preview, [f"dataset={data}", "prompts=[a]", "models=tiny", argument]) == 2
    assert said in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_warned_about(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "torn.png").write_bytes(b"torn")
    argv = [f"dataset={tmp_path}/data", "prompts=[a]", "models=tiny", f"out={tmp_path}/run"]
    assert run_command(_preview, argv) == 2
    err = capsys.readouterr().err
    assert "warning: torn.png: " in err and "none of the pictures could be read" in err
