"""Backbones of timm in the configs of checkpoints."""

import importlib.util

import pytest

from annotate.errors import WeightsError
from annotate.models.backbones import settled

BEFORE = {
    "model_type": "omdet-turbo", "use_timm_backbone": True, "use_pretrained_backbone": False,
    "backbone": "swin_tiny_patch4_window7_224", "backbone_config": None,
    "backbone_kwargs": {"out_indices": [1, 2, 3], "img_size": 640},
}  # fmt: skip
SINCE = {
    "model_type": "omdet-turbo",
    "backbone_config": {
        "model_type": "timm_backbone", "backbone": "swin_tiny_patch4_window7_224",
        "out_indices": [1, 2, 3], "img_size": 640,
    },
}  # fmt: skip
WRAPPED = {"vision_config": {"backbone_config": {"model_type": "timm_wrapper"}}}
OTHERS = [
    {"model_type": "grounding-dino", "use_timm_backbone": False, "backbone": None},
    {"model_type": "owlv2", "labels": ["timm_backbone"]},
]


@pytest.fixture
def _timm(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "timm")


@pytest.mark.usefixtures("_timm")
def test_a_backbone_is_said_as_it_is_since_5_and_all_else_is_left_alone():
    before = dict(BEFORE)
    assert settled("a/b", BEFORE) == SINCE
    assert before == BEFORE
    for config in (SINCE, *OTHERS):
        assert settled("a/b", config) == config


@pytest.mark.parametrize("config", [BEFORE, SINCE, WRAPPED, {"use_timm_backbone": True}])
def test_without_timm_the_way_to_install_it_is_named(config, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"a/b: .* pip install 'annotate\[timm\]'"):
        settled("a/b", config)
    for other in OTHERS:
        assert settled("a/b", other) == other


@pytest.mark.usefixtures("_timm")
@pytest.mark.parametrize("name", ["hf-hub:evil/model", "evil/model", "local-dir:/etc", ["x"]])
def test_a_backbone_that_would_be_fetched_is_refused(name):
    wrapper = {"model_type": "timm_wrapper", "architecture": name}
    for config in (BEFORE | {"backbone": name}, {"deep": [wrapper]}):
        with pytest.raises(WeightsError, match=r"a/b: config\.json names the backbone .*fetched"):
            settled("a/b", config)
