"""Where nothing is found, what is said leads to something."""

from dataclasses import replace

import pytest

from annotate.data.types import ClassList, ClassSpec
from annotate.record.run_summary import Counts
from annotate.runner.advice import TINY, advice
from tests.small_runs import draw_stills, run, settings

CLASSES = ClassList(
    (
        ClassSpec("car", ("car",)),
        ClassSpec("dog", ("dog",), threshold=0.5),
        ClassSpec("van", ("van",), min_area=900),
    )
)


@pytest.fixture
def asked(tmp_path):
    return settings(tmp_path, tmp_path / "run")


def counts(best, recorded, kept=(0, 0, 0), wrong_size=(0, 0, 0)) -> Counts:
    names = CLASSES.names
    return Counts(
        ok=4, failed=0, frames=4, annotated=0, failures=[],
        recorded=dict(zip(names, recorded, strict=True)),
        kept=dict(zip(names, kept, strict=True)),
        best=dict(zip(names, best, strict=True)),
        wrong_size=dict(zip(names, wrong_size, strict=True)),
    )  # fmt: skip


def test_each_class_is_told_why_and_which_key_would_show_it(asked):
    lines = advice(
        counts((0.279, 0.45, 0.8), (3, 2, 7), wrong_size=(0, 0, 6)), CLASSES, asked, "r x"
    )
    assert lines == [
        "below threshold=0.3: car 0.28; to see the best without a new run: "
        "annotate export run='r x' threshold=0.27",
        "below the threshold in the class list: dog 0.45 < 0.5; with a lower one there the same "
        "command exports again, without a new run",
        "van: 6 score enough but are not of the size or shape asked for (min_area=900)",
        TINY,
    ]


def test_nothing_recorded_names_the_floor_and_other_models_no_tiny(asked):
    other = replace(asked, grounder=replace(asked.grounder, arguments={"model": "IDEA-Research/x"}))
    lines = advice(counts((0, 0, 0), (0, 0, 0)), CLASSES, other, "r")
    assert lines == [
        "not found: car, dog, van (no score of ground.floor=0.1 or more); other phrases may find "
        "more: docs/prompts.md"
    ]


def test_where_every_class_has_something_or_no_frame_was_read_nothing_is_said(asked):
    assert advice(counts((1, 1, 1), (1, 1, 1), kept=(1, 1, 1)), CLASSES, asked, "r") == []
    assert advice(replace(counts((0, 0, 0), (0, 0, 0)), frames=0), CLASSES, asked, "r") == []


def test_the_threshold_that_is_named_shows_something(tmp_path):
    data = draw_stills(tmp_path / "data")
    high = run(data, tmp_path / "run", "threshold=1.0")
    (line,) = [line for line in high.advice if line.startswith("below threshold=1")]
    named = line.rpartition("threshold=")[2]
    again = run(data, tmp_path / "run", f"threshold={named}")
    assert sum(again.counts.kept.values()) > 0
    assert max(again.counts.best.values()) >= float(named) > max(again.counts.best.values()) - 0.02


def test_a_size_that_was_not_asked_for_is_counted(tmp_path):
    data = draw_stills(tmp_path / "data")
    prompts = tmp_path / "classes.yaml"
    prompts.write_text("- name: red circle\n  min_area: 1000000\n")
    found = run(data, tmp_path / "run", f"prompts={prompts}")
    assert found.counts.wrong_size["red circle"] > 0 == found.counts.kept["red circle"]
    assert "min_area=1000000" in found.advice[0]
