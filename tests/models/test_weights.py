"""The door that weights come through: package, folder or hub; whole, and without running code."""

import errno
import hashlib
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file, save_file

from annotate.config.compose import compose, conf_dir
from annotate.errors import ConfigError, WeightsError
from annotate.models import hub, sam2_architecture
from annotate.models.devices import choose_device
from annotate.models.hub import fetch
from annotate.models.sam2_checkpoint import SegmenterSource, load_sam2
from annotate.models.transformers_checkpoint import GrounderSource, load_grounding_dino
from tests import full_size
from tests.hub_server import Hub, serve

CPU = torch.device("cpu")
TINY = Path(hub.__file__).parent / "tiny"
GROUNDER = GrounderSource("acme/grounder", "main")
SEGMENTER = SegmenterSource("acme/segmenter", "sam2.1_tiny.pt", "sam2.1_tiny.yaml", "main")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that serves the embedded models, and an empty cache; what fails is retried at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    no_wait = SimpleNamespace(sleep=lambda seconds: None, perf_counter=lambda: 0.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time", no_wait)
    monkeypatch.setattr("huggingface_hub.file_download.time", no_wait)
    with serve(acme__grounder=TINY / "grounder", acme__segmenter=TINY / "segmenter") as served:
        _use_hub(monkeypatch, served.url, tmp_path / "hf")
        yield served
    close_session()


def _use_hub(monkeypatch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """What HF_ENDPOINT and HF_HOME do, in a process that has read them already."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(home / "agents.json"))
    close_session()


def _refusal(call: Any, *args: Any) -> str:
    """The one line that a WeightsError says."""
    with pytest.raises(WeightsError) as caught:
        call(*args)
    line = str(caught.value)
    assert "\n" not in line
    return line


# From a hub


def test_models_of_a_hub_load_and_say_where_they_come_from(hub: Hub) -> None:
    model, processor, provenance = load_grounding_dino(GROUNDER, CPU)
    assert provenance.model == "acme/grounder"
    assert (provenance.revision, provenance.commit) == ("main", hub.commit("acme/grounder"))
    file = TINY / "grounder" / "model.safetensors"
    assert provenance.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert provenance.weights == ("model.safetensors",)
    assert model.dtype == torch.float32 and not model.training
    assert processor.tokenizer.sep_token_id == 102

    sam, provenance = load_sam2(SEGMENTER, CPU)
    assert provenance.commit == hub.commit("acme/segmenter")
    assert not sam.training and not any(p.requires_grad for p in sam.parameters())


def test_weights_are_downloaded_once(hub: Hub) -> None:
    fetch(GROUNDER)
    fetch(GROUNDER)
    assert hub.downloads("model.safetensors") == 1


def test_only_what_is_needed_is_downloaded(hub: Hub, tmp_path: Path) -> None:
    hub.repos["acme/grounder"] = shutil.copytree(TINY / "grounder", tmp_path / "repo")
    (tmp_path / "repo" / "pytorch_model.bin").write_bytes(b"another format")
    (tmp_path / "repo" / "modeling.py").write_text("raise SystemExit")
    fetched = fetch(GROUNDER)
    here = {p.name for p in fetched.folder.iterdir()}
    assert here == {p.name for p in (TINY / "grounder").iterdir()}


def test_a_pinned_commit_in_the_cache_asks_nothing_of_the_hub(hub: Hub) -> None:
    pinned = GrounderSource("acme/grounder", hub.commit("acme/grounder"))
    first = fetch(pinned)
    hub.requests.clear()
    assert fetch(pinned) == first
    assert hub.requests == []


def test_an_incomplete_cache_is_completed(hub: Hub) -> None:
    pinned = GrounderSource("acme/grounder", hub.commit("acme/grounder"))
    folder = fetch(pinned).folder
    (folder / "tokenizer.json").unlink()
    fetch(pinned)
    assert (folder / "tokenizer.json").is_file()
    assert hub.downloads("model.safetensors") == 1


def test_offline_after_a_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    online = fetch(SEGMENTER)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(SEGMENTER) == online
    assert hub.requests == []


def test_offline_with_nothing_cached_names_the_ways_out(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = _refusal(fetch, GROUNDER)
    for word in ("acme/grounder", "HF_HUB_OFFLINE", "models=tiny", "action=pull models="):
        assert word in line


def test_an_unreachable_hub_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as gone:
        pass
    _use_hub(monkeypatch, gone.url, tmp_path)
    line = _refusal(fetch, GROUNDER)
    for word in ("acme/grounder", gone.url, "cannot be reached", "models=tiny", "action=pull"):
        assert word in line


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (GrounderSource("acme/absent", "main"), ("acme/absent", "no such repository")),
        (GrounderSource("acme/grounder", "f" * 40), ("no revision", "f" * 40)),
        (GrounderSource("acme/locked", "main"), ("gated", "HF_TOKEN")),
        (
            SegmenterSource("acme/segmenter", "other.pt", "sam2.1_tiny.yaml", "main"),
            ("acme/segmenter", "no other.pt", "segment.checkpoint"),
        ),
        (
            SegmenterSource("acme/segmenter", "sam2.1_tiny.pt", "other.yaml", "main"),
            ("acme/segmenter", "no other.yaml", "segment.architecture"),
        ),
        (GrounderSource("acme/segmenter", "main"), ("acme/segmenter", "no config.json")),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, source: Any, words: tuple[str, ...]) -> None:
    hub.repos["acme/locked"] = TINY / "grounder"
    hub.gated.add("acme/locked")
    load = load_sam2 if isinstance(source, SegmenterSource) else load_grounding_dino
    line = _refusal(load, source, CPU)
    for word in words:
        assert word in line


def test_a_download_that_breaks_off_leaves_nothing_that_looks_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut["model.safetensors"] = 100_000
    line = _refusal(fetch, GROUNDER)
    for word in ("acme/grounder", hub.url, "failed", "models=tiny"):
        assert word in line
    assert set(hub.resumed) == {100_000}  # it was tried again from where it broke
    hub.cut.clear()
    load_grounding_dino(GROUNDER, CPU)


@pytest.mark.parametrize("name", ["model.safetensors", "tree"])
def test_a_hub_that_stumbles_once_is_asked_again(hub: Hub, name: str) -> None:
    hub.fail[name] = (500, 1)
    assert fetch(GROUNDER).commit == hub.commit("acme/grounder")


def test_a_hub_that_keeps_failing(hub: Hub) -> None:
    hub.fail["tree"] = (503, 100)
    line = _refusal(fetch, GROUNDER)
    assert "answered 503" in line and "models=tiny" in line


@pytest.mark.parametrize(
    ("load", "source", "name"),
    [
        (load_grounding_dino, GROUNDER, "model.safetensors"),
        (load_sam2, SEGMENTER, "sam2.1_tiny.pt"),
    ],
)
def test_a_file_that_the_hub_cuts_short(hub: Hub, load: Any, source: Any, name: str) -> None:
    hub.short[name] = 150_000
    line = _refusal(load, source, CPU)
    for word in (source.model, name, "truncated or damaged", "delete"):
        assert word in line


def test_a_cached_file_that_rots_is_not_loaded(hub: Hub) -> None:
    (path,) = fetch(GROUNDER).weights
    blob = path.resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    line = _refusal(load_grounding_dino, GROUNDER, CPU)
    assert "sha256" in line and str(blob) in line


def test_a_full_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub._snapshot_download.hf_hub_download", full)
    line = _refusal(fetch, GROUNDER)
    assert "disk is full" in line and "HF_HOME" in line


# From a folder


def _grounder_folder(tmp_path: Path) -> Path:
    return shutil.copytree(TINY / "grounder", tmp_path / "grounder")


def _segmenter_folder(tmp_path: Path) -> Path:
    return shutil.copytree(TINY / "segmenter", tmp_path / "segmenter")


def _segmenter(folder: Path) -> SegmenterSource:
    return SegmenterSource(str(folder), "sam2.1_tiny.pt", "sam2.1_tiny.yaml")


@pytest.mark.parametrize("model", ["nowhere", "./a/b", "/nowhere/at/all", "embedded:nothing"])
def test_a_model_that_is_nowhere(model: str) -> None:
    assert model in _refusal(fetch, GrounderSource(model))


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
    folder = _grounder_folder(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    line = _refusal(load_grounding_dino, GrounderSource(str(folder)), CPU)
    for word in (str(folder), *words):
        assert word in line.replace(f"{folder}/", f"{folder} ")


def test_a_grounder_without_all_its_tensors(tmp_path: Path) -> None:
    folder = _grounder_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.text_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    line = _refusal(load_grounding_dino, GrounderSource(str(folder)), CPU)
    assert "tensors 1 missing (model.text_projection.weight)" in line


def test_a_grounder_of_another_size_than_its_config(tmp_path: Path) -> None:
    folder = _grounder_folder(tmp_path)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"num_queries": 30', '"num_queries": 31'))
    line = _refusal(load_grounding_dino, GrounderSource(str(folder)), CPU)
    assert str(folder) in line
    assert "tensors 1 of another shape (model.query_position_embeddings.weight)" in line


def test_heads_that_a_file_keeps_apart_stay_apart(tmp_path: Path) -> None:
    """MM Grounding DINO files name one copy of each head, some of them inside the decoder."""
    folder = _mm_grounding_dino(tmp_path)
    stored = load_file(folder / "model.safetensors")
    model, _, _ = load_grounding_dino(GrounderSource(str(folder)), CPU)
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
    line = _refusal(load_grounding_dino, GrounderSource(str(_mm_grounding_dino(tmp_path))), CPU)
    assert "this release of transformers changes model.decoder.bbox_embed.1" in line


def _mm_grounding_dino(tmp_path: Path) -> Path:
    """A small one with a box head of its own for each layer, saved as releases before 5 did."""
    folder = _grounder_folder(tmp_path)
    config = transformers.MMGroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=24,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=1100,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=3,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=10,
        decoder_bbox_embed_share=False,
        decoder_cls_embed_share=False,
    )
    torch.manual_seed(0)
    model = transformers.MMGroundingDinoForObjectDetection(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    moved = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        in_decoder = name.startswith(("bbox_embed.", "class_embed.")) and ".0." not in name[:14]
        moved[f"model.decoder.{name}" if in_decoder else name] = tensor
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


# Pickles and yaml that want to run code


class _Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def test_the_canary_sings_where_a_pickle_runs(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Hostile(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("container", ["torch.save", "old torch.save", "pickle.dumps"])
def test_a_hostile_checkpoint_does_not_run(tmp_path: Path, container: str) -> None:
    folder = _segmenter_folder(tmp_path)
    payload = {"model": _Hostile(tmp_path / "canary")}
    path = folder / "sam2.1_tiny.pt"
    if container == "pickle.dumps":
        path.write_bytes(pickle.dumps(payload))
    else:
        new = container == "torch.save"
        torch.save(payload, path, _use_new_zipfile_serialization=new)
    line = _refusal(load_sam2, _segmenter(folder), CPU)
    assert str(path) in line and "pickle" in line
    assert not (tmp_path / "canary").exists()


def test_a_hostile_grounder_does_not_run(tmp_path: Path) -> None:
    folder = _grounder_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"model": _Hostile(tmp_path / "canary")}, folder / "pytorch_model.bin")
    line = _refusal(load_grounding_dino, GrounderSource(str(folder)), CPU)
    assert "no .safetensors" in line and "pytorch_model.bin" in line
    assert not (tmp_path / "canary").exists()


def test_code_beside_a_grounder_does_not_run(tmp_path: Path) -> None:
    folder = _grounder_folder(tmp_path)
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Model: pass\n")
    config = (folder / "config.json").read_text()
    auto = '"auto_map": {"AutoConfig": "evil.Model", "AutoModel": "evil.Model"},'
    (folder / "config.json").write_text(config.replace("{", "{" + auto, 1))
    load_grounding_dino(GrounderSource(str(folder)), CPU)
    assert not canary.exists()


@pytest.mark.parametrize(
    "node",
    [
        "{_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [CANARY]}}",
        "{_target_: sam2.build_sam.os.system, command: touch CANARY}",
        "{_target_: sam2.modeling.sam2_base.torch.load, f: CANARY}",
        "{_target_: torch.nn.Linear, in_features: 1, out_features: 1}",
        "{_target_: sam2.sam2_video_predictor.SAM2VideoPredictor}",
        "{weights_path: CANARY}",
        "'${oc.env:HOME}'",
    ],
)
def test_a_yaml_calls_nothing_but_modules_of_sam2(tmp_path: Path, node: str) -> None:
    folder = _segmenter_folder(tmp_path)
    canary = tmp_path / "canary"
    yaml = folder / "sam2.1_tiny.yaml"
    text = yaml.read_text().replace("num_maskmem: 7", f"num_maskmem: {node}")
    yaml.write_text(text.replace("CANARY", str(canary)))
    assert "refused" in _refusal(load_sam2, _segmenter(folder), CPU)
    assert not canary.exists()


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
    folder = _segmenter_folder(tmp_path)
    yaml = folder / "sam2.1_tiny.yaml"
    yaml.write_text(yaml.read_text().replace(old, new))
    line = _refusal(load_sam2, _segmenter(folder), CPU)
    for word in ("sam2.1_tiny.yaml", *words):
        assert word in line


def test_a_checkpoint_with_garbage_inside(tmp_path: Path) -> None:
    folder = _segmenter_folder(tmp_path)
    path = folder / "sam2.1_tiny.pt"
    content = path.read_bytes()
    path.write_bytes(content[:2000] + b"x" * 2000 + content[4000:])
    assert "truncated or damaged" in _refusal(load_sam2, _segmenter(folder), CPU)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    folder = _segmenter_folder(tmp_path)
    torch.save({"state_dict": {}}, folder / "sam2.1_tiny.pt")
    assert 'no "model"' in _refusal(load_sam2, _segmenter(folder), CPU)


# SAM 2 and Hydra


def test_building_leaves_the_hydra_of_an_application_alone() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        sam2_architecture.build(TINY / "segmenter" / "sam2.1_tiny.yaml")
        assert GlobalHydra.instance().hydra is mine


def test_importing_sam2_leaves_hydra_free_for_a_notebook() -> None:
    """In a process of its own: the package sam2 takes Hydra when it is first imported."""
    program = """
        from hydra.core.global_hydra import GlobalHydra
        from annotate.models.sam2_architecture import import_sam2
        import_sam2()
        import sam2
        assert not GlobalHydra.instance().is_initialized()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)


# Presets and devices


@pytest.mark.parametrize(
    ("arguments", "grounder", "segmenter"),
    [
        ([], "IDEA-Research/grounding-dino-base", "facebook/sam2.1-hiera-base-plus"),
        (["models=tiny"], "embedded:tiny/grounder", "embedded:tiny/segmenter"),
        (["models=fast"], "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"),
        (["models=best"], "iSEE-Laboratory/llmdet_large", "facebook/sam2.1-hiera-large"),
        (["models=tiny", "segment=fast"], "embedded:tiny/grounder", "facebook/sam2.1-hiera-tiny"),
        (["segment=fast", "models=tiny"], "embedded:tiny/grounder", "facebook/sam2.1-hiera-tiny"),
        (["models=tiny", "ground.model=a/b"], "a/b", "embedded:tiny/segmenter"),
    ],
)
def test_a_preset_composes_and_the_narrower_choice_wins(
    arguments: list[str], grounder: str, segmenter: str
) -> None:
    config = compose(arguments, "config")
    assert (config.ground.model, config.segment.model) == (grounder, segmenter)


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_presets_pin_commits_and_use_yamls_that_sam2_ships(preset: str) -> None:
    config = compose([f"models={preset}"], "config")
    for revision in (config.ground.revision, config.segment.revision):
        assert len(revision) == 40 and int(revision, 16)
    assert sam2_architecture.packaged_architecture(config.segment.architecture)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    for name in ("cuda", "mps", "tpu"):
        with pytest.raises(ConfigError, match=name):
            choose_device(name)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")


# Full size


def test_full_size_weights_in_the_official_formats_load(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("full_size")
    full_size.write_grounder(folder / "grounder")
    full_size.write_segmenter(folder / "segmenter")
    # The size of the official file: the same names and shapes.
    assert (folder / "grounder" / "model.safetensors").stat().st_size == 689_359_096

    model, processor, _ = load_grounding_dino(GrounderSource(str(folder / "grounder")), CPU)
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
