"""The models as a server has them: one picture after the other, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from annotate.config.settings import AnnotateCommand
from annotate.data.selection import kept_instances
from annotate.data.types import ClassList, Detections, Frame, Image, Instance, Item, Rle, spoken
from annotate.discover.class_list import load_prompts
from annotate.record.versions import program
from annotate.runner.build import build_pipeline

BoxXyxy = tuple[float, float, float, float]
Point = tuple[float, float, bool]  # px, and whether it is on the object


class Annotating:
    """Pictures to the instances that an export would have."""

    def __init__(
        self,
        settings: AnnotateCommand,
        classes: ClassList,
        one_at_a_time: threading.Lock | None = None,
    ) -> None:
        """Loads the models. Raises ConfigError, PromptError, WeightsError.

        Who shares the lock `one_at_a_time` waits for each other: memory is that of one picture.
        """
        self.classes = classes
        self.max_pixels = settings.dataset.max_pixels
        self._threshold = settings.threshold
        self._pipeline, weights = build_pipeline(settings, self.classes)
        models = [str(said.get("model", "")) for said in weights.values()]
        self.version = " ".join(["annotate", program(), *filter(None, models)])
        self._one_at_a_time = one_at_a_time or threading.Lock()

    @property
    def boxes_only(self) -> bool:
        """Whether masks are the boxes themselves."""
        return self._pipeline.boxes_only

    def image(self, pixels: Image, threshold: float | None = None) -> list[Instance]:
        """Of an RGB picture (h, w, 3) uint8. Raises MemoryError, MediaError.

        `threshold` stands in for that of the settings; a class with one of its own keeps it.
        """
        with self._one_at_a_time:
            (record,) = self._pipeline.stills([_frame(pixels)])
        least = self._threshold if threshold is None else threshold
        return list(kept_instances(record, self.classes, least))

    def masks(self, pixels: Image, boxes: Sequence[BoxXyxy]) -> list[tuple[Rle, BoxXyxy] | None]:
        """The mask of what lies in each of some boxes px, and its own box; None: there is none."""
        count = len(boxes)
        found = Detections(
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.ones(count, np.float32),
            class_ids=np.zeros(count, np.int32),  # a mask is not of a class
            phrases=("",) * count,
            margins=np.ones(count, np.float32),
        )
        with self._one_at_a_time:
            record = self._pipeline.masks(_frame(pixels), found)
        made: list[tuple[Rle, BoxXyxy] | None] = [None] * count
        for instance in record.instances:
            if instance.area:
                row = int(instance.instance_id.rpartition(":")[2])
                made[row] = instance.mask, instance.box_xyxy
        return made

    def mask_at(self, pixels: Image, points: Sequence[Point]) -> tuple[Rle, BoxXyxy] | None:
        """The mask of the object at points, and its box.

        None: there is none, or the segmenter takes boxes alone.
        """
        with self._one_at_a_time:
            cut = self._pipeline.mask_at(_frame(pixels), points)
        return None if cut is None else (cut.mask, cut.box_xyxy)


class Models:
    """The models for the classes of the command, or else for the labels of whoever asks."""

    def __init__(self, settings: AnnotateCommand, classes: ClassList | None) -> None:
        """With classes they are loaded now, else with the first picture. Raises AnnotateError."""
        self._settings = settings
        self._one_at_a_time, self._loading = threading.Lock(), threading.Lock()
        self._loaded: Annotating | None = None
        self._given = self._load(classes) if classes is not None else None

    @property
    def version(self) -> str:
        """Of the program and, once they are loaded, of the weights."""
        loaded = self._loaded
        return loaded.version if loaded else f"annotate {program()} {self._settings.grounder.shown}"

    def classes(self, labels: Iterable[str]) -> ClassList:
        """What an interface with these labels is asked for. PromptError."""
        return self._given.classes if self._given else _as_classes(labels)

    def of(self, labels: Iterable[str]) -> Annotating:
        """The models, which the labels of another interface have loaded anew; one set is kept."""
        if self._given:
            return self._given
        classes = _as_classes(labels)
        with self._loading:
            if self._loaded is None or self._loaded.classes != classes:
                self._loaded = None  # before the next come: two may not fit
                return self._load(classes)
            return self._loaded

    def _load(self, classes: ClassList) -> Annotating:
        with self._one_at_a_time:
            loaded = Annotating(self._settings, classes, self._one_at_a_time)
        self._loaded = loaded
        return loaded


def _as_classes(labels: Iterable[str]) -> ClassList:
    """Each label a class; `Red circle` and `red_circle` are one."""
    return load_prompts({label: None for label in {_key(one): one for one in labels}.values()})


def _key(label: str) -> str:
    return spoken(label).casefold()


def _frame(pixels: Image) -> Frame:
    return Frame(Item("picture", Path("picture")), pixels)
