"""The embedded tiny models, loaded once for the whole suite."""

from pathlib import Path

import pytest
import torch

from annotate.models.grounding_dino import GroundingDino
from annotate.models.sam2_image import Sam2Image
from annotate.models.weights import (
    GrounderSource,
    SegmenterSource,
    load_grounding_dino,
    load_sam2,
)

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
    from annotate.demo import ensure_demo

    folder = tmp_path_factory.mktemp("data") / "demo"
    ensure_demo(folder)
    return folder
