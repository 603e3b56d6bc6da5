"""Models that stay loaded from one asking to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Frame, FrameRecord, Item
from annotate.discover.class_list import load_prompts
from annotate.models import transformers_checkpoint
from annotate.runner.build import KeptModels, build_pipeline
from annotate.segment.sam2 import Sam2
from annotate.synthetic.still import draw_still


def settings(*more: str) -> AnnotateCommand:
    argv = ["dataset=.", "prompts=[red circle]", "models=tiny", "device=cpu", *more]
    return typed(compose(argv, "config"), AnnotateCommand)


def records(kept: KeptModels | None, prompts: list[str], *more: str) -> list[FrameRecord]:
    """What a pipeline makes of a picture."""
    pipeline, _ = build_pipeline(settings(*more), load_prompts(prompts), kept)
    image = np.asarray(draw_still(3, (160, 120), min_objects=3).image)
    return pipeline.stills([Frame(Item("a.png", Path("a.png")), image)])


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is loaded from now on."""
    loaded: list[str] = []
    load_checkpoint, load = transformers_checkpoint.load_checkpoint, Sam2.load

    def grounder(*args: object) -> object:
        loaded.append("grounder")
        return load_checkpoint(*args)  # type: ignore[arg-type]

    def segmenter(self: Sam2) -> None:
        loaded.append("segmenter")
        load(self)

    monkeypatch.setattr(transformers_checkpoint, "load_checkpoint", grounder)
    monkeypatch.setattr(Sam2, "load", segmenter)
    return loaded


def test_other_words_load_nothing_and_find_what_fresh_models_do(loads: list[str]) -> None:
    kept = KeptModels()
    lists = [["red circle", "blue square"], ["blue square", "green ring", "white star"]]
    made = [records(kept, prompts) for prompts in (*lists, lists[0])]
    assert loads == ["grounder", "segmenter"]
    assert made == [records(None, prompts) for prompts in (*lists, lists[0])]


def test_only_what_differs_is_loaded(loads: list[str]) -> None:
    kept = KeptModels()
    records(kept, ["red circle"])
    records(kept, ["red circle"], "segment=none")
    assert loads == ["grounder", "segmenter"]
    records(kept, ["red circle"], "ground.pooling=max", "segment=none")
    assert loads == ["grounder", "segmenter", "grounder"]
