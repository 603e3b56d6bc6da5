"""The installed wheel carries configs, exporters and weights, and works from any directory."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_ships_what_it_needs_and_nothing_else(site):
    top = {p.name for p in site.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"annotate", "exporters"}
    assert (site / "annotate/conf/config.yaml").is_file()
    assert (site / "annotate/py.typed").is_file(), "so that a user's mypy reads the types"
    size = sum(p.stat().st_size for p in (site / "annotate/models/tiny").rglob("*") if p.is_file())
    assert size < 15 * 2**20


def test_it_annotates_from_another_directory(site, demo, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import annotate.config.compose as c;"
        "assert 'site' in c.__file__, c.__file__; from annotate.{} import main; main()"
    )
    still = demo / "stills" / "still_00.png"
    done = subprocess.run(
        [sys.executable, "-c", code.format("__main__"), str(site), f"dataset={still}",
         "models=tiny", f"prompts={demo}/classes.txt", "out=run"],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/exports/coco/annotations/instances_default.json").is_file()
    reported = subprocess.run(
        [sys.executable, "-c", code.format("report.__main__"), str(site), "run=run"],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "run/report.html").is_file()
