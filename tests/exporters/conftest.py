"""Runs that several tests export."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.record.run_folder import Run
from annotate.synthetic.canvas import Scene
from tests.exporters.clips import make_clips_run, scenes
from tests.exporters.runs import make_run, shape_records


@pytest.fixture
def shapes_run(tmp_path: Path) -> Run:
    return make_run(tmp_path, shape_records())


@pytest.fixture(scope="session")
def clips() -> dict[str, list[Scene]]:
    return {"clips/a.mp4": scenes(1), "clips/b c.mp4": scenes(2)}


@pytest.fixture
def clips_run(tmp_path: Path, clips: dict[str, list[Scene]]) -> Run:
    return make_clips_run(tmp_path, clips)
