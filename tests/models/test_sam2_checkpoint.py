"""A checkpoint of SAM 2 loads whole, fits its yaml, and runs no code."""

import pickle
from pathlib import Path

import pytest
import torch

from annotate.models.sam2_checkpoint import load_sam2
from tests.models.damaged import CPU, Hostile, refusal, segmenter, segmenter_folder


def test_the_canary_sings_where_a_pickle_runs(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("container", ["torch.save", "old torch.save", "pickle.dumps"])
def test_a_hostile_checkpoint_does_not_run(tmp_path: Path, container: str) -> None:
    folder = segmenter_folder(tmp_path)
    payload = {"model": Hostile(tmp_path / "canary")}
    path = folder / "sam2.1_tiny.pt"
    if container == "pickle.dumps":
        path.write_bytes(pickle.dumps(payload))
    else:
        new = container == "torch.save"
        torch.save(payload, path, _use_new_zipfile_serialization=new)
    line = refusal(load_sam2, segmenter(folder), CPU)
    assert str(path) in line and "pickle" in line
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_maskmem: 7", "num_maskmem: 6", ("does not fit", "1 of another shape", "maskmem")),
        ("no_obj_embed_spatial: true", "", ("1 unknown", "no_obj_embed_spatial")),
        ("num_maskmem: 7", "maskmems: 7", ("does not describe a SAM 2", "maskmems")),
        ("d_model: 96", "d_model: 97", ("does not describe a SAM 2",)),
        ("model:", "modell:", ("has no `model:`",)),
        ("model:", "model: [", ("cannot be read as yaml",)),
    ],
)
def test_a_checkpoint_and_a_yaml_that_do_not_fit(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    folder = segmenter_folder(tmp_path)
    yaml = folder / "sam2.1_tiny.yaml"
    yaml.write_text(yaml.read_text().replace(old, new))
    line = refusal(load_sam2, segmenter(folder), CPU)
    for word in ("sam2.1_tiny.yaml", *words):
        assert word in line


def test_a_checkpoint_with_garbage_inside(tmp_path: Path) -> None:
    folder = segmenter_folder(tmp_path)
    path = folder / "sam2.1_tiny.pt"
    content = path.read_bytes()
    path.write_bytes(content[:2000] + b"x" * 2000 + content[4000:])
    assert "truncated or damaged" in refusal(load_sam2, segmenter(folder), CPU)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    folder = segmenter_folder(tmp_path)
    torch.save({"state_dict": {}}, folder / "sam2.1_tiny.pt")
    assert 'no "model"' in refusal(load_sam2, segmenter(folder), CPU)
