"""docs/python.md, every line of which runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_runs_as_it_stands(demo, tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.M | re.S
    )
    assert len(blocks) >= 8
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(demo)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.startswith("True 0 (Gate(name='gates.max_failed'")
    assert "missing.jpg: file not found" in said and "['red circle" in said
    assert re.search(r"^\{1, 2\}$", said, re.M), "the tracks of the clip"
    assert re.search(r"^47 \(Instance\(red circle 0\.\d\d, track 1, ", said, re.M)
