"""One database and one annotated run for all tests of review."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.record.run_folder import Run
from annotate.runner import job


@pytest.fixture(scope="session", autouse=True)
def _database(database: str) -> None:
    """For every test here."""


@pytest.fixture(scope="session")
def annotated(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three stills and a clip."""
    data = tmp_path_factory.mktemp("reviewed") / "data"
    (data / "stills").mkdir(parents=True)
    for index in (6, 2, 3):
        shutil.copy(demo / "stills" / f"still_{index:02d}.png", data / "stills")
    shutil.copy(demo / "clips" / "clip_00.mp4", data)
    argv = [f"dataset={data}", f"out={data.parent / 'run'}", f"prompts={demo}/classes.txt"]
    argv += ["models=tiny", "video.stride=12", "contact_sheet=false", "export=[]"]
    job.annotate_dataset(typed(compose(argv, "config"), AnnotateCommand))
    return data.parent / "run"


@pytest.fixture
def run(annotated: Path, tmp_path: Path) -> Run:
    """A run folder of the test's own, which also names its dataset."""
    shutil.copytree(annotated, tmp_path / tmp_path.name)
    return Run.open(tmp_path / tmp_path.name)
