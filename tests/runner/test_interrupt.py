"""Ctrl-C and the signals of a system that wants its machine back."""

import json
import signal
import subprocess
import sys

import pytest

from annotate.runner import worker
from tests.small_runs import run


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
