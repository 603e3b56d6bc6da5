"""The embedded tiny models, loaded once for the whole suite."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from annotate.ground.grounding_dino.scorer import PhraseScorer
from annotate.models.layouts import CheckpointSource
from annotate.segment.sam2 import Sam2
from annotate.segment.sam2.image import Sam2Image
from tests.grounding_dino import load_grounding_dino

pytest_plugins = ["tests.mongo", "tests.stores"]  # its fixtures are asked for from several rooms

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_dino() -> PhraseScorer:
    model, processor, _ = load_grounding_dino(CheckpointSource("embedded:tiny/grounder"), CPU)
    return PhraseScorer(model, processor, device=CPU, pooling="mean")


@pytest.fixture(scope="session")
def tiny_segmenter() -> Sam2:
    segmenter = Sam2(
        model="embedded:tiny/segmenter",
        revision=None,
        checkpoint="sam2.1_tiny.pt",
        architecture="sam2.1_tiny.yaml",
        device="cpu",
    )
    segmenter.load()
    return segmenter


@pytest.fixture(scope="session")
def tiny_sam(tiny_segmenter: Sam2) -> Sam2Image:
    return tiny_segmenter.memory.image


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo dataset, generated once."""
    from annotate.synthetic.demo import ensure_demo

    folder = tmp_path_factory.mktemp("data") / "demo"
    ensure_demo(folder)
    return folder


@pytest.fixture(scope="session")
def demo_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over eight stills and one clip of the demo, every third frame of it."""
    import shutil

    from annotate.config.compose import compose, typed
    from annotate.config.settings import AnnotateCommand
    from annotate.runner.job import annotate_dataset

    folder = tmp_path_factory.mktemp("demo_run")
    for name in (*(f"stills/still_{n:02d}.png" for n in range(8)), "clips/clip_00.mp4"):
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo / name, folder / "data" / name)
    argv = [
        f"dataset={folder / 'data'}",
        f"prompts={demo / 'classes.txt'}",
        f"out={folder / 'run'}",
    ]
    more = ["models=tiny", "video.stride=3", "contact_sheet=false"]
    annotate_dataset(typed(compose([*argv, *more], "config"), AnnotateCommand))
    return folder / "run"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the unpacked wheel."""
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(built), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "site")
    return built / "site"
