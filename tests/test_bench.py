"""The page of speed: what is measured comes on it, for each device, and what failed is said."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import device_calls, overhead, page
from bench.models import load_tiny
from bench.passes import Passes
from bench.table import Options, Table, shown
from bench.turns import forget_peaks, peaks_mb, slope


def test_a_slope_is_the_power_of_growth():
    sizes = [1, 10, 100]
    assert slope(sizes, [3, 30, 300]) == pytest.approx(1)
    assert slope(sizes, [5, 5, 5]) == pytest.approx(0)
    assert slope(sizes, [1, 100, 10_000]) == pytest.approx(2)


def test_numbers_are_shown_with_three_digits_and_texts_as_they_are():
    assert [shown(v) for v in ("a", 12_345, 1234.5, 12.345, 0.012345)] == [
        "a", "12,345", "1,234", "12.35", "0.0123"
    ]  # fmt: skip


SURROUNDINGS = {"date": "d", "machine": "m", "gpu": "one", "versions": {"torch": "2"}}


def test_a_page_keeps_what_the_other_device_said_and_says_what_failed(tmp_path, monkeypatch):
    table = Table("Of GPUs", "note", ("what", "ms"), [["a", 1.5]])
    tables = {"stills": [{"title": table.title, "note": "note", "columns": table.columns,
                          "rows": table.rows}]}  # fmt: skip
    known = {"cuda": {"with": SURROUNDINGS, "tables": tables, "failed": {},
                      "commits": {"stills": "abc"}}}  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(known))
    measurements = {"stills": "some", "nothing_of_that_name": "none"}
    monkeypatch.setattr(page, "MEASUREMENTS", measurements)
    assert not page.write(tmp_path, Options("cpu", quick=True), ["nothing_of_that_name"])
    said = (tmp_path / "RESULTS.md").read_text()
    assert "| a | 1.50 |" in said and "GPU: one. torch 2." in said and "commit abc" in said
    assert "**nothing_of_that_name failed**: " in said
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["cuda"] == json.loads(json.dumps(known["cuda"]))
    assert set(kept["cpu"]["failed"]) == {"nothing_of_that_name"}


def test_a_page_says_what_printed_no_table_and_how_to_ask_again(tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 0, "no json\n", "")
    monkeypatch.setattr(page, "surroundings", lambda device: SURROUNDINGS)
    monkeypatch.setattr(page, "MEASUREMENTS", {"stills": "none"})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert not page.write(tmp_path, Options("cpu", full=True))
    assert "**stills failed**: exit code 0: no table came" in (tmp_path / "RESULTS.md").read_text()
    done.stdout = json.dumps([{"title": "T", "note": "", "columns": ["ms"], "rows": [[1.5]]}])
    assert page.write(tmp_path, Options("cpu", full=True))
    said = (tmp_path / "RESULTS.md").read_text()
    assert "failed" not in said and "`python -m bench.page stills --device cpu --full`" in said


def test_every_package_has_a_version():
    versions = page.surroundings("cpu")["versions"]
    assert set(versions) == {"python", *page.PACKAGES} and all(versions.values())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone forgets peaks")
def test_a_peak_is_that_since_the_last_one_was_forgotten():
    forget_peaks("cpu")
    (before,) = peaks_mb("cpu")
    block = np.ones(25_000_000)  # 200 MB
    (with_block,) = peaks_mb("cpu")
    del block
    assert with_block > before + 150
    assert peaks_mb("cpu")[0] == pytest.approx(with_block, abs=20)
    forget_peaks("cpu")
    assert peaks_mb("cpu")[0] < with_block - 150


def test_passes_alone_are_those_of_the_run():
    models = load_tiny(overhead.CLASSES, device="cpu")
    _, run = overhead._stills(models, 3, "cpu")
    passes = Passes(models, "cpu", kept=True)
    with passes.watching():
        run(2)
    assert passes.count == 2 * 3  # grounder, encoder and decoder of each
    within, passes.seconds = passes.seconds, 0.0
    passes.alone()
    assert within > 0 and passes.seconds == 0  # models are as they were
    _, run = overhead._video(models, 3, "cpu")
    passes = Passes(models, "cpu", kept=True)
    with passes.watching():
        run(3)
    recalled = [key for key in passes._passes if key[0][1] == "_recall"]
    assert len(recalled) == 2  # frames 1 and 2 remember one and two
    passes.alone()


def test_calls_of_a_device_come_in_a_table(monkeypatch):
    """They are counted in tests/runner/test_shared_passes.py, for they take long."""
    made = device_calls.Calls("8 stills", 3, uploads=1.0, waits=2.0, calls=3.0)
    monkeypatch.setattr(device_calls, "counted", lambda *_: [made])
    (table,) = device_calls.measure(Options("cpu", quick=True))
    assert table.rows == [["8 stills", 3, 1.0, 2.0, 3.0]] and len(table.columns) == 5


@pytest.mark.parametrize("name", sorted(set(page.MEASUREMENTS) - {"device_calls"}))
def test_the_smallest_case_of_a_measurement_gives_numbers(name):
    command = [sys.executable, "-m", "bench.page", name, "--quick", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tables = [Table(**table) for table in json.loads(done.stdout.splitlines()[-1])]
    assert tables and all(len(row) == len(t.columns) for t in tables for row in t.rows)
    numbers = [value for t in tables for row in t.rows for value in row if type(value) is float]
    assert numbers and all(value >= 0 for value in numbers)
    assert all(name in t.markdown() for t in tables for name in t.columns)
    if name == "stills":
        assert tables[0].rows[0][2] == tables[0].rows[0][3]  # masks of both
