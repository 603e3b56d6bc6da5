"""Weights come from a hub or a folder, whole, once, or not at all and with one line."""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from annotate.models.hub import fetch
from annotate.models.layouts import CheckpointSource, SegmenterSource
from annotate.models.sam2_checkpoint import load_sam2
from tests.grounding_dino import load_grounding_dino
from tests.hub_server import Hub, serve
from tests.models.damaged import CPU, TINY, refusal

GROUNDER = CheckpointSource("acme/grounder", "main")
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
    pinned = CheckpointSource("acme/grounder", hub.commit("acme/grounder"))
    first = fetch(pinned)
    hub.requests.clear()
    assert fetch(pinned) == first
    assert hub.requests == []


def test_an_incomplete_cache_is_completed(hub: Hub) -> None:
    pinned = CheckpointSource("acme/grounder", hub.commit("acme/grounder"))
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
    line = refusal(fetch, GROUNDER)
    for word in ("acme/grounder", "HF_HUB_OFFLINE", "models=tiny", "action=pull models="):
        assert word in line


def test_an_unreachable_hub_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as gone:
        pass
    _use_hub(monkeypatch, gone.url, tmp_path)
    line = refusal(fetch, GROUNDER)
    for word in ("acme/grounder", gone.url, "cannot be reached", "models=tiny", "action=pull"):
        assert word in line


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (CheckpointSource("acme/absent", "main"), ("acme/absent", "no such repository")),
        (CheckpointSource("acme/grounder", "f" * 40), ("no revision", "f" * 40)),
        (CheckpointSource("acme/locked", "main"), ("gated", "HF_TOKEN")),
        (
            SegmenterSource("acme/segmenter", "other.pt", "sam2.1_tiny.yaml", "main"),
            ("acme/segmenter", "no other.pt", "segment.checkpoint"),
        ),
        (
            SegmenterSource("acme/segmenter", "sam2.1_tiny.pt", "other.yaml", "main"),
            ("acme/segmenter", "no other.yaml", "segment.architecture"),
        ),
        (CheckpointSource("acme/segmenter", "main"), ("acme/segmenter", "no config.json")),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, source: Any, words: tuple[str, ...]) -> None:
    hub.repos["acme/locked"] = TINY / "grounder"
    hub.gated.add("acme/locked")
    load = load_sam2 if isinstance(source, SegmenterSource) else load_grounding_dino
    line = refusal(load, source, CPU)
    for word in words:
        assert word in line


def test_a_download_that_breaks_off_leaves_nothing_that_looks_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut["model.safetensors"] = 100_000
    line = refusal(fetch, GROUNDER)
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
    line = refusal(fetch, GROUNDER)
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
    line = refusal(load, source, CPU)
    for word in (source.model, name, "truncated or damaged", "delete"):
        assert word in line


def test_a_cached_file_that_rots_is_not_loaded(hub: Hub) -> None:
    (path,) = fetch(GROUNDER).weights
    blob = path.resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    line = refusal(load_grounding_dino, GROUNDER, CPU)
    assert "sha256" in line and str(blob) in line


def test_a_full_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub._snapshot_download.hf_hub_download", full)
    line = refusal(fetch, GROUNDER)
    assert "disk is full" in line and "HF_HOME" in line


@pytest.mark.parametrize("model", ["nowhere", "./a/b", "/nowhere/at/all", "embedded:nothing"])
def test_a_model_that_is_nowhere(model: str) -> None:
    assert model in refusal(fetch, CheckpointSource(model))
