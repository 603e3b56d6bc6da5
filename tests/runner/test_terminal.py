"""What commands say is one line, that no name can break, steer or end."""

import json
import os
import subprocess
import sys

import pytest

from annotate.data.printable import printable
from annotate.errors import ConfigError
from annotate.runner.command import run_command
from tests.exporters.runs import COCO
from tests.small_runs import still

EVIL = "a\x1b[2J\x07\u202egnp\nerror: forged.png"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("路口 01.png", "路口 01.png"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b]0;t\x07\x9b", r"\x1b]0;t\x07\x9b"),
        ("\u202egpj.exe\u2028", r"\u202egpj.exe\u2028"),
        ("lone \udcff", r"lone \udcff"),
    ],
)
def test_what_steers_a_terminal_is_spelled_out(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_an_error_is_one_line_whatever_was_asked(capsys):
    def refuse(argv):
        raise ConfigError(f"dataset={argv[0]}: not found")

    assert run_command(refuse, [EVIL]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "\x1b" not in said and "\x07" not in said


def annotated(folder, *argv, **env):
    command = ["annotate", f"dataset={folder}/data", "prompts=[red circle]", "models=tiny"]
    return subprocess.run(
        [sys.executable, "-m", *command, f"out={folder}/run", *argv],
        capture_output=True, timeout=200, env=os.environ | env,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_reach_terminal_log_and_report_as_text(tmp_path):
    (tmp_path / "data").mkdir()
    still(tmp_path / "data" / "good.png", 1)
    (tmp_path / "data" / EVIL).write_bytes(b"torn")
    done = annotated(tmp_path)
    assert done.returncode == 3, done.stderr
    report = [sys.executable, "-m", "annotate.report", f"run={tmp_path}/run"]
    subprocess.run(report, check=True, capture_output=True, timeout=100)
    log = (tmp_path / "run/run.log").read_bytes()
    page = (tmp_path / "run/report.html").read_bytes()
    for said in (done.stdout, log, page):
        assert b"\x1b" not in said and b"\x07" not in said and "\u202e".encode() not in said
        assert b"\nerror: forged" not in said
    assert rb"a\x1b[2J\x07\u202egnp\nerror: forged.png" in done.stdout


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_a_character_that_the_terminal_lacks_ends_nothing(tmp_path, env):
    (tmp_path / "data").mkdir()
    (tmp_path / "classes.txt").write_text("红色圆形: red circle\n", encoding="utf-8")
    still(tmp_path / "data" / "路口.png", 1)
    coerced = {"PYTHONCOERCECLOCALE": "0"}
    done = annotated(tmp_path, f"prompts={tmp_path}/classes.txt", **coerced, **env)
    assert done.returncode == 0, done.stderr
    assert b"\\u7ea2\\u8272" in done.stdout or "红色" in done.stdout.decode()
    found = json.loads((tmp_path / "run/exports/coco" / COCO).read_text(encoding="ascii"))
    assert found["images"][0]["file_name"] == "路口.png"
