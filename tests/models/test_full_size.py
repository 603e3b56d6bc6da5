"""Checkpoints of the official size and format load."""

import shutil
from typing import Any

import pytest
import torch
from hydra import initialize_config_module

from annotate.models.layouts import CheckpointSource, SegmenterSource
from annotate.models.sam2_checkpoint import load_sam2
from tests import full_size
from tests.grounding_dino import load_grounding_dino
from tests.models.damaged import CPU


def test_full_size_weights_in_the_official_formats_load(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("full_size")
    full_size.write_grounder(folder / "grounder")
    full_size.write_segmenter(folder / "segmenter")
    # The size of the official file: the same names and shapes.
    assert (folder / "grounder" / "model.safetensors").stat().st_size == 689_359_096

    model, processor, _ = load_grounding_dino(CheckpointSource(str(folder / "grounder")), CPU)
    assert model.config.num_queries == 900
    ids = processor.tokenizer("a cat. two dogs?")["input_ids"]
    assert [i for i in ids if i in (101, 102, 1012, 1029)] == [101, 1012, 1029, 102]

    source = SegmenterSource(
        str(folder / "segmenter"), full_size.SEGMENTER_FILE, full_size.SEGMENTER_YAML
    )
    sam, _ = load_sam2(source, CPU)
    with initialize_config_module("sam2", version_base="1.2"):
        from sam2.build_sam import build_sam2

        theirs = build_sam2(full_size.SEGMENTER_YAML, device="cpu")
    assert sam.state_dict().keys() == theirs.state_dict().keys()
    assert _settings(sam.sam_mask_decoder) == _settings(theirs.sam_mask_decoder)
    assert _settings(sam) == _settings(theirs)
    shutil.rmtree(folder)  # 0.8 GB


def _settings(module: torch.nn.Module) -> dict[str, Any]:
    """The plain attributes of a module."""
    plain = (bool, int, float, str, type(None))
    return {k: v for k, v in vars(module).items() if isinstance(v, plain)}
