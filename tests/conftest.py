"""The embedded tiny models, loaded once for the whole suite."""

from pathlib import Path

import pytest
import torch

from annotate.ground.grounding_dino import GroundingDino
from annotate.models.sam2_checkpoint import SegmenterSource, load_sam2
from annotate.models.transformers_checkpoint import GrounderSource, load_grounding_dino
from annotate.segment.sam2 import Sam2Image

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_dino() -> GroundingDino:
    model, processor, _ = load_grounding_dino(GrounderSource("embedded:tiny/grounder"), CPU)
    return GroundingDino(model, processor, device=CPU, pooling="mean")


@pytest.fixture(scope="session")
def tiny_sam() -> Sam2Image:
    source = SegmenterSource("embedded:tiny/segmenter", "sam2.1_tiny.pt", "sam2.1_tiny.yaml")
    return Sam2Image(load_sam2(source, CPU)[0], device=CPU)


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
