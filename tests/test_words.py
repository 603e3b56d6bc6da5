"""`annotate WORD ...`: the commands as people type them."""

import runpy
import subprocess
import sys

import pytest

from annotate.record import versions


def said(monkeypatch, capsys, *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    monkeypatch.setattr(sys, "argv", ["annotate", *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("annotate", run_name="__main__")
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_is_one_screen_of_words_presets_and_keys(monkeypatch, capsys, argv):
    code, out, _ = said(monkeypatch, capsys, *argv)
    assert code == 0
    assert len(out.splitlines()) <= 24 and max(map(len, out.splitlines())) <= 100
    for word in (
        "export",
        "review",
        "evaluate",
        "report",
        "models",
        "tiny",
        "dataset=",
        "prompts=",
    ):
        assert word in out


def test_the_version_is_said(monkeypatch, capsys):
    assert said(monkeypatch, capsys, "--version")[:2] == (0, f"annotate {versions.program()}\n")


def test_run_help_has_every_key(monkeypatch, capsys):
    code, out, _ = said(monkeypatch, capsys, "run", "--help")
    assert code == 0 and "max_detections" in out and "split_seed" in out


@pytest.mark.parametrize("word", ["export", "report", "evaluate"])
def test_a_word_is_its_command(monkeypatch, capsys, tmp_path, word):
    truth = ["truth=t.json"] if word == "evaluate" else []
    code, _, err = said(monkeypatch, capsys, word, f"run={tmp_path}", *truth)
    assert code == 2
    assert "run=DIR must name a folder that `python -m annotate` wrote" in err


def test_run_is_what_happens_without_a_word(monkeypatch, capsys):
    wanted = said(monkeypatch, capsys, "prompts=[cat]")
    assert said(monkeypatch, capsys, "run", "prompts=[cat]") == wanted
    assert wanted[0] == 2 and "dataset is not given" in wanted[2]


@pytest.mark.parametrize(
    ("word", "hint"), [("exprt", "did you mean export"), ("photos", "dataset=")]
)
def test_a_word_that_nobody_knows_is_one_line(monkeypatch, capsys, word, hint):
    code, out, err = said(monkeypatch, capsys, word, "run=x")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{word}: no such command" in err and hint in err


HEAVY = ("torch", "transformers", "pandas", "scipy", "fiftyone", "huggingface_hub")


@pytest.mark.parametrize(
    "argv",
    [
        ["dataset=nowhere", "prompts=[cat]"],
        ["dataset=.", "prompts=nowhere.txt"],
        ["dataset=.", "prompts=[cat]", "threshold=1.5"],
        ["dataset=.", "prompts=[cat]", "device=gpu"],
        ["dataset=.", "prompts=[cat]", "runner.workers=0"],
        ["dataset=.", "prompts=[cat]", "models=tinny"],
        ["dataset=.", "prompts=[cat]", "modles=tiny"],
        ["export", "run=nowhere"],
        ["export", "run=nowhere", "threshold=x"],
        ["evaluate", "run=nowhere", "truth=t.json", "folds=1"],
        ["review", "run=nowhere"],
        ["report", "run=nowhere"],
    ],
)
def test_a_slip_is_told_before_anything_heavy_is_imported(argv, tmp_path):
    """Less than half of `import torch`, that is: these are what takes long."""
    script = (
        "import sys\n"
        "from annotate.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "2 []", done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
