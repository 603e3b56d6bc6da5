"""What commands say is one line, that no name can break, steer or end."""

import io
import json
import os
import subprocess
import sys

import pytest

from annotate import __main__
from annotate.data.printable import printable
from annotate.errors import ConfigError
from annotate.report import __main__ as report
from annotate.runner import terminal
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


def argv(folder, *more):
    return [
        f"dataset={folder}/data", "prompts=[red circle]", "models=tiny", f"out={folder}/run", *more
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_reach_terminal_log_and_report_as_text(tmp_path, capfdbinary):
    (tmp_path / "data").mkdir()
    still(tmp_path / "data" / "good.png", 1)
    (tmp_path / "data" / EVIL).write_bytes(b"torn")
    assert run_command(__main__._annotate, argv(tmp_path)) == 3
    assert run_command(report._report, [f"run={tmp_path}/run"]) == 0
    out, err = capfdbinary.readouterr()
    log = (tmp_path / "run/run.log").read_bytes()
    page = (tmp_path / "run/report.html").read_bytes()
    for said in (out, err, log, page):
        assert b"\x1b[2J" not in said and b"\x07" not in said and "\u202e".encode() not in said
        assert b"\nerror: forged" not in said
    assert rb"a\x1b[2J\x07\u202egnp\nerror: forged.png" in out


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_stream_that_lacks_a_character_spells_it_out(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    terminal.prepare()
    terminal.say("红色 é")
    assert raw.getvalue().startswith(rb"\u7ea2\u8272 ")


def test_where_names_are_taken_for_ascii_a_run_begins_again(tmp_path):
    """Of a process of its own: it is begun anew with names in UTF-8."""
    (tmp_path / "data").mkdir()
    (tmp_path / "classes.txt").write_text("红色圆形: red circle\n", encoding="utf-8")
    still(tmp_path / "data" / "路口.png", 1)
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    more = argv(tmp_path, f"prompts={tmp_path}/classes.txt", "contact_sheet=false", "export=[coco]")
    done = subprocess.run(
        [sys.executable, "-m", "annotate", *more],
        capture_output=True, timeout=200, env=os.environ | plain,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "红色" in done.stdout.decode()
    found = json.loads((tmp_path / "run/exports/coco" / COCO).read_text(encoding="ascii"))
    assert found["images"][0]["file_name"] == "路口.png"
