"""A grounder loads whole, and without running code."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from annotate.models.layouts import CheckpointSource
from tests.ground.made import mm_grounding_dino
from tests.grounding_dino import load_grounding_dino
from tests.models.damaged import CPU, Hostile, grounder_folder, refusal


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b'{"model_type": "owlv2"}', ("'owlv2'", "mm-grounding-dino")),
        ("config.json", b"{not json", ("config.json", "cannot be read")),
        ("config.json", b"[]", ("model_type None",)),
        ("config.json", None, ("no config.json",)),
        ("tokenizer.json", None, ("no tokenizer.json",)),
        ("tokenizer.json", b"{}", ("transformers cannot load",)),
        ("processor_config.json", None, ("no preprocessor_config.json",)),
        ("model.safetensors", b"", ("model.safetensors is truncated",)),
        ("model.safetensors", b"\xff" * 64, ("model.safetensors is truncated",)),
    ],
)
def test_a_grounder_folder_with_a_bad_file(
    tmp_path: Path, name: str, content: bytes | None, words: tuple[str, ...]
) -> None:
    folder = grounder_folder(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    line = refusal(load_grounding_dino, CheckpointSource(str(folder)), CPU)
    for word in (str(folder), *words):
        assert word in line.replace(f"{folder}/", f"{folder} ")


def test_a_grounder_without_all_its_tensors(tmp_path: Path) -> None:
    folder = grounder_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.text_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    line = refusal(load_grounding_dino, CheckpointSource(str(folder)), CPU)
    assert "tensors 1 missing (model.text_projection.weight)" in line


def test_a_grounder_of_another_size_than_its_config(tmp_path: Path) -> None:
    folder = grounder_folder(tmp_path)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"num_queries": 30', '"num_queries": 31'))
    line = refusal(load_grounding_dino, CheckpointSource(str(folder)), CPU)
    assert str(folder) in line
    assert "tensors 1 of another shape (model.query_position_embeddings.weight)" in line


def test_heads_that_a_file_keeps_apart_stay_apart(tmp_path: Path) -> None:
    """MM Grounding DINO files name one copy of each head, some of them inside the decoder."""
    folder = _mm_grounding_dino(tmp_path)
    stored = load_file(folder / "model.safetensors")
    model, _, _ = load_grounding_dino(CheckpointSource(str(folder)), CPU)
    for layer in range(3):
        name = f"bbox_embed.{layer}.layers.0.weight"
        expected = stored[name if layer == 0 else f"model.decoder.{name}"]
        assert torch.equal(model.bbox_embed[layer].layers[0].weight, expected)
        assert torch.equal(model.model.decoder.bbox_embed[layer].layers[0].weight, expected)


def test_a_release_of_transformers_that_changes_weights_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = transformers.AutoModelForZeroShotObjectDetection
    load = auto.from_pretrained

    def ties_the_heads(*args: Any, **kwargs: Any) -> Any:
        model, report = load(*args, **kwargs)
        model.bbox_embed[1] = model.model.decoder.bbox_embed[1] = model.bbox_embed[0]
        return model, report

    monkeypatch.setattr(auto, "from_pretrained", ties_the_heads)
    line = refusal(load_grounding_dino, CheckpointSource(str(_mm_grounding_dino(tmp_path))), CPU)
    assert "this release of transformers changes model.decoder.bbox_embed.1" in line


def _mm_grounding_dino(tmp_path: Path) -> Path:
    """A small one with a box head of its own for each layer, saved as releases before 5 did."""
    folder = tmp_path / "mm"
    mm_grounding_dino.write(folder)
    model = transformers.MMGroundingDinoForObjectDetection.from_pretrained(folder)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    moved = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        in_decoder = name.startswith(("bbox_embed.", "class_embed.")) and ".0." not in name[:14]
        moved[f"model.decoder.{name}" if in_decoder else name] = tensor
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_hostile_grounder_does_not_run(tmp_path: Path) -> None:
    folder = grounder_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"model": Hostile(tmp_path / "canary")}, folder / "pytorch_model.bin")
    line = refusal(load_grounding_dino, CheckpointSource(str(folder)), CPU)
    assert "no .safetensors" in line and "pytorch_model.bin" in line
    assert not (tmp_path / "canary").exists()


def test_code_beside_a_grounder_does_not_run(tmp_path: Path) -> None:
    folder = grounder_folder(tmp_path)
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Model: pass\n")
    config = (folder / "config.json").read_text()
    auto = '"auto_map": {"AutoConfig": "evil.Model", "AutoModel": "evil.Model"},'
    (folder / "config.json").write_text(config.replace("{", "{" + auto, 1))
    load_grounding_dino(CheckpointSource(str(folder)), CPU)
    assert not canary.exists()
