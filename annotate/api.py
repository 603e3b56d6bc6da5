"""The same job from Python: `annotate.run(...)` for a dataset, `Annotator` for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Frame, FrameRecord, Image, Item
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.discover.class_list import load_prompts
from annotate.record.run_folder import Run
from annotate.runner.build import build_pipeline
from annotate.runner.job import annotate_dataset
from annotate.store.remote import allow


def run(*, dataset: str | Path, prompts: str | Path | Sequence[str], **overrides: Any) -> Run:
    """Annotate a dataset and export it, as `python -m annotate` does.

    Overrides are config keys with `__` for the dot: `run(dataset="photos", prompts=["cat"],
    models="tiny", ground__floor=0.05)`. Raises AnnotateError; failed items are in the records.
    """
    settings = _settings(prompts, {"dataset": str(dataset), **overrides})
    return Run.open(annotate_dataset(settings).run)


class Annotator:
    """The models with one class list, for single pictures and clips."""

    def __init__(
        self, *, prompts: str | Path | Sequence[str], models: str = "balanced", **overrides: Any
    ) -> None:
        settings = _settings(prompts, {"dataset": ".", "models": models, **overrides})
        allow(settings.store.protocols)
        self.classes = load_prompts(settings.prompts)
        self._depth = settings.decode.depth
        self._pipeline, self.provenance = build_pipeline(settings, self.classes)

    def image(self, image: Image | str | Path) -> FrameRecord:
        """Annotate one picture: a path, or RGB uint8 (h, w, 3). Raises MediaError."""
        if isinstance(image, (str, Path)):
            path, pixels = Path(image), read_image(Path(image), depth=self._depth)
        else:
            path, pixels = Path("image"), np.ascontiguousarray(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise TypeError(f"expected RGB uint8 (h, w, 3), got {pixels.dtype} {pixels.shape}")
        (record,) = self._pipeline.stills([Frame(Item(path.name, path), pixels)])
        return record

    def video(self, path: str | Path, *, stride: int = 1) -> list[FrameRecord]:
        """Annotate every `stride`-th frame of a clip, with tracks. Raises MediaError.

        All records are in memory, masks as run lengths; for long videos use `run`.
        """
        path = Path(path)
        item = Item(path.name, path, "video", depth=self._depth)
        frames = open_video(item).frames(stride=stride)
        passing = self._pipeline.video(frames)
        provisional = list(passing.provisional())
        return list(passing.settled(provisional))


def _settings(prompts: str | Path | Sequence[str], overrides: dict[str, Any]) -> AnnotateCommand:
    argv = [f"{key.replace('__', '.')}={_grammar(value)}" for key, value in overrides.items()]
    settings = typed(compose(argv, "config"), AnnotateCommand)
    given = str(prompts) if isinstance(prompts, (str, Path)) else list(prompts)
    return replace(settings, prompts=given)


def _grammar(value: Any) -> str:
    """A Python value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_grammar, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}: {_grammar(v)}" for k, v in value.items()) + "}"
    return str(value)
