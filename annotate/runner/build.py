"""From settings to loaded models: where the rooms of the pipeline are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from annotate.config.schema import checked
from annotate.config.settings import AnnotateCommand, SegmentSettings
from annotate.config.shipped import named_targets
from annotate.config.target import Target
from annotate.data.types import ClassList
from annotate.errors import ConfigError, one_line
from annotate.ground.base import Grounder
from annotate.ground.select import Detector
from annotate.ground.tiles import Tiled
from annotate.models import precision
from annotate.models.devices import choose_device
from annotate.models.memory_limit import MemoryLimit, is_out_of_memory, over
from annotate.record.asked import deciding
from annotate.record.run_folder import Run
from annotate.runner.pipeline import Pipeline
from annotate.runner.worker import Feed, Worker
from annotate.segment.base import Segmenter
from annotate.verify.base import Verifier
from annotate.verify.opinions import Opinions


class KeptModels:
    """Models that stay loaded, one of a kind, for who asks for the same ones with other words."""

    def __init__(self) -> None:
        self._models: dict[type, tuple[Target, Any]] = {}
        self._loaded: Segmenter | None = None

    def make(self, target: Target, kind: type) -> Any:
        """The model of before where it is the same, else another one, not loaded."""
        if kind in self._models and self._models[kind][0] != target:
            del self._models[kind]  # before the next one comes: two may not fit
        if kind not in self._models:
            self._models[kind] = target, target.make(kind)
        return self._models[kind][1]

    def load(self, segmenter: Segmenter) -> None:
        """Load a segmenter, which nothing but its own settings changes, once."""
        if self._loaded is not segmenter:
            self._loaded = None
            segmenter.load()
            self._loaded = segmenter


def make_models(
    settings: AnnotateCommand, kept: KeptModels | None = None
) -> tuple[Grounder, Segmenter]:
    """What the settings name, not loaded. Raises ConfigError where keys or values do not fit."""
    kept = kept or KeptModels()
    grounder: Grounder = kept.make(settings.grounder, Grounder)
    segmenter: Segmenter = kept.make(settings.segmenter, Segmenter)
    return grounder, segmenter


def build_pipeline(
    settings: AnnotateCommand, classes: ClassList, kept: KeptModels | None = None
) -> tuple[Pipeline, dict[str, Mapping[str, Any]]]:
    """Load the models for a class list; also which weights they have, by role.

    Of what was `kept` only what differs is loaded; a pipeline of before is then at an end.
    """
    kept = kept or KeptModels()
    choose_device(settings.device)
    if settings.runner.threads:
        torch.set_num_threads(settings.runner.threads)
    grounder, segmenter = make_models(settings, kept)
    verifier: Verifier = kept.make(settings.verifier, Verifier)
    try:
        grounder.load(classes)
        kept.load(segmenter)
        verifier.load(classes)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(
            f"device={settings.device}: the models themselves do not fit in memory "
            f"({one_line(error)}); take smaller ones, such as models=fast, or another device"
        ) from error
    if settings.tile.size is not None:
        tile, batch = settings.tile, batch_size(settings)
        grounder = grounder.tiled(lambda one: Tiled(one, tile, batch=batch))
    crowded = over(settings.runner.max_ram_gb)
    images, boxes, objects = (
        MemoryLimit(what, crowded=crowded) for what in ("images", "boxes", "objects")
    )
    pipeline = Pipeline(
        Detector(grounder, settings.ground, classes, at_once=images),
        segmenter,
        segment=settings.segment,
        tile=settings.tile,
        track=settings.track,
        every=settings.ground.every,
        batch=batch_size(settings),
        boxes_at_once=boxes,
        objects_at_once=objects,
        opinions=None if verifier.is_none else Opinions(verifier, settings.verify.batch),
    )
    made_with = {"ground": grounder.provenance, "segment": segmenter.provenance}
    return pipeline, made_with | ({} if verifier.is_none else {"verify": verifier.provenance})


def build_worker(
    settings: AnnotateCommand, classes: ClassList, kept: KeptModels | None = None
) -> Worker:
    """Load the models into a worker that does units in this process; see `build_pipeline`."""
    pipeline, provenance = build_pipeline(settings, classes, kept)
    feed = Feed(
        batch=batch_size(settings),
        max_pixels=settings.dataset.max_pixels,
        stride=settings.video.stride,
        runner=settings.runner,
    )
    device = choose_device(settings.device)
    computed = {"device": device.type, "precision": precision.name(device)}
    made_with = {**provenance, "computed": computed}
    return Worker(pipeline, feed, {role: dict(p) for role, p in made_with.items()})


def batch_size(settings: AnnotateCommand) -> int:
    """Images per forward: what was asked, else what suits the device."""
    return settings.ground.batch or (8 if choose_device(settings.device).type == "cuda" else 1)


def recorded_segmenter(
    run: Run, *, device: str, folders: Sequence[str] = ()
) -> tuple[Segmenter, SegmentSettings]:
    """The segmenter that made a run, not loaded, and how it finished its masks.

    `folders` are those of `--config-dir`. A run folder may come from anywhere: its class is made
    only if a config here names it. Raises ConfigError.
    """
    asked = deciding({"config.yaml": run.asked()})["config.yaml"].get("segment")
    shared = [f.name for f in fields(SegmentSettings)]
    target = Target.recorded(
        asked,
        "segment",
        named=named_targets("segment", folders),
        apart=shared,
        folders=tuple(folders),
    )
    if "device" in target.known_keys():
        target = replace(target, arguments={**target.arguments, "device": device})
    one_at_a_time = {"max_pixels": 1}
    own = {k: v for k, v in asked.items() if k in shared} | one_at_a_time
    return target.make(Segmenter), checked(SegmentSettings, own, "segment")
