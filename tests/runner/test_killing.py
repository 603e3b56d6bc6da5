"""Runs killed at changes of files and at random moments resume to the same bytes."""

import os
import subprocess
import sys


def test_killed_runs_resume_to_the_same_bytes(tmp_path):
    # A process of its own: it forks, which one with threads must not.
    done = subprocess.run(
        [sys.executable, "-m", "tests.killing", "--work", tmp_path, "--random=1", "--every=47"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all resumed to the same bytes, nothing left behind" in done.stdout
