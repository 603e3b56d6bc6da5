"""Exports asked for more than the records hold say so."""

import logging

import pytest

from annotate import export
from annotate.data.types import ClassList, ClassSpec
from annotate.runner.exports import say_what_no_record_holds
from tests.small_runs import run


def lines(caplog) -> list[str]:
    said = [r.getMessage() for r in caplog.records if "ground.floor" in r.getMessage()]
    return list(dict.fromkeys(said))  # caught at our logger and at the root


def test_a_threshold_below_the_records_is_a_line_of_run_and_of_export(
    stills, tmp_path, caplog, monkeypatch
):
    run(stills, tmp_path / "run", "threshold=0.05", "export=[coco]")
    monkeypatch.setattr(logging.getLogger("annotate"), "propagate", True)
    (line,) = lines(caplog)
    assert line.startswith("threshold=0.05 for 2 classes: records begin at ground.floor=0.1")
    caplog.clear()
    assert export._export([f"run={tmp_path / 'run'}", "threshold=0.02", "export=[coco]"]) == 0
    (line,) = lines(caplog)
    assert line.startswith("threshold=0.02 for 2 classes")
    caplog.clear()
    assert export._export([f"run={tmp_path / 'run'}", "threshold=0.1", "export=[coco]"]) == 0
    assert lines(caplog) == []


@pytest.mark.parametrize(("own", "said"), [(0.05, ["'cat'"]), (0.2, [])])
def test_a_class_with_a_threshold_of_its_own_is_named(own, said, caplog):
    classes = ClassList((ClassSpec("cat", ("cat",), threshold=own), ClassSpec("car", ("car",))))
    say_what_no_record_holds(0.1, 0.3, classes)
    assert [f"threshold={own} for {name}" for name in said] == [
        line.split(":")[0] for line in lines(caplog)
    ]
