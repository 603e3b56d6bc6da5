"""Ctrl-C and the signals of a system that wants its machine back."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from annotate.runner import worker
from tests.small_runs import run

# What the installed command does, with a line from where it is under way.
MAIN = (
    "import annotate.__main__ as program, signal\n"
    "leave = signal.signal\n"
    "def told(number, handler):\n"
    "    before = leave(number, handler)\n"
    "    if handler is program._leave: print('at main', flush=True)\n"
    "    return before\n"
    "signal.signal = told\n"
    "program.main()"
)


def test_an_interruption_is_in_the_summary(stills, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.parquet, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(stills, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 130)
    assert summary["items"]["before"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_that_is_deep_in_foreign_code(number, tmp_path):
    """Where Python cannot tell the main thread of it, as in a pass of a large model."""
    script = (
        "import ctypes, signal, sys; from annotate.runner.command import run_command; "
        "from annotate.runner import interrupt\n"
        "def busy(argv):\n"
        "    with interrupt.last_words(lambda: print('last words', flush=True)):\n"
        # Blocked here, the signal arrives in another thread, and sleep() goes on.
        "        signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.SIGNALS)\n"
        "        told = False\n"
        "        while True:\n"
        "            try:\n"
        "                if not told:\n"
        "                    told = True\n"  # first: the signal may come with the line
        "                    print('busy', flush=True)\n"
        "                ctypes.CDLL(None).sleep(600)\n"
        "            except KeyboardInterrupt:\n"
        "                pass\n"
        "sys.exit(run_command(busy, []))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == "last words\n"
    assert err.strip() == "interrupted; the same command continues from here"


@pytest.mark.skipif(os.name == "nt", reason="there, signals end a process in another way")
@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.7, 1.5])
def test_from_the_first_moment_on_an_interruption_is_one_line(after_s, tmp_path):
    """While modules are imported, too, wherever that is by then."""
    argv = [f"dataset={tmp_path}", "prompts=[car]", "models=tiny", f"out={tmp_path / 'run'}"]
    (tmp_path / "a.png").write_bytes(b"")
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at main\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("interrupted") and "Traceback" not in err
