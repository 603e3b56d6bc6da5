"""Command lines of a report do what they say when they are pasted into a shell."""

import json
import shlex
import subprocess
import sys

import pytest

from annotate.config.compose import compose
from annotate.config.settings import folders
from annotate.record.run_folder import Run
from annotate.report.__main__ import _presets
from annotate.report.commands import command, made_by, settings_of

NAMES = [
    "runs/demo", "runs/my run", "it's", "a,b", "x=y", "$(reboot)", "`reboot`", "a;b", "näht/運行",
    "[a]", "{a}", "'quoted'", '"quoted"', "null", "-x", "~", "!history", "s3://bucket/run", "a\\b",
]  # fmt: skip


def through_a_shell(line: str) -> list[str]:
    """The arguments that a program of this command line gets."""
    program = (
        f"{shlex.quote(sys.executable)} -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"
    )
    told = subprocess.run(
        ["sh", "-c", line.replace("annotate ", f"{program} ", 1)], capture_output=True, check=True
    )
    return json.loads(told.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_named_for_a_shell_and_for_our_grammar(name):
    word, *rest = through_a_shell(command("export", [name], "threshold=0.42"))
    values = compose(rest, "export").values
    assert word == "export" and values["threshold"] == 0.42
    assert folders(values["run"])[0].removeprefix("./") == name


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("~", "null")])
def test_several_folders_are_a_list(name):
    rest = through_a_shell(command("review", ["runs/a", name]))[1:]
    assert folders(compose(rest, "review").values["run"]) == ["runs/a", name]


def test_the_command_of_a_run_composes_to_what_was_asked(demo_run):
    asked = Run.open(demo_run).asked()
    line = made_by(asked, [str(demo_run)], settings_of(asked, _presets()))
    assert line.endswith("models=tiny video.stride=3")
    values = compose(through_a_shell(line), "config").values
    assert values["dataset"]["path"] == asked["dataset"]["root"]
    for section in ("ground", "segment", "track", "decode", "video"):
        assert asked[section].items() <= values[section].items()


def test_settings_of_other_kinds_are_written_in_the_grammar():
    asked = {"ground": {"model": "a b,c", "revision": None, "floor": 0.2, "on": True}}
    said = settings_of(asked, {"one": {"ground": {}}, "two": {"ground": {"on": True}}})
    assert said == [
        "models=two",
        'ground.model="a b,c"',
        "ground.revision=null",
        "ground.floor=0.2",
    ]
