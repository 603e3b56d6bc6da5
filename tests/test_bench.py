"""The page of speed: what is measured comes on it, for each device, and what failed is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import page
from bench.table import Options, Table, shown
from bench.turns import slope


def test_a_slope_is_the_power_of_growth():
    sizes = [1, 10, 100]
    assert slope(sizes, [3, 30, 300]) == pytest.approx(1)
    assert slope(sizes, [5, 5, 5]) == pytest.approx(0)
    assert slope(sizes, [1, 100, 10_000]) == pytest.approx(2)


def test_numbers_are_shown_with_three_digits_and_texts_as_they_are():
    assert [shown(v) for v in ("a", 12_345, 1234.5, 12.345, 0.012345)] == [
        "a", "12,345", "1,234", "12.35", "0.0123"
    ]  # fmt: skip


def test_a_page_keeps_what_the_other_device_said_and_says_what_failed(tmp_path, monkeypatch):
    table = Table("Of GPUs", "note", ("what", "ms"), [["a", 1.5]])
    before = {"date": "d", "machine": "m", "gpu": "one", "versions": {"torch": "2"}}
    tables = {"stills": [{"title": table.title, "note": "note", "columns": table.columns,
                          "rows": table.rows}]}  # fmt: skip
    known = {"cuda": {"with": before, "tables": tables, "failed": {}, "commits": {"stills": "abc"}}}
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


@pytest.mark.parametrize("name", ["overhead", "exports"])
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
