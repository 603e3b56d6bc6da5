"""The models as a server has them: one picture after the other, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate.config.settings import AnnotateCommand
from annotate.data.selection import kept_instances
from annotate.data.types import ClassList, Detections, Frame, Image, Instance, Item
from annotate.record.versions import program
from annotate.runner.build import build_pipeline

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box that a person drew, to have a mask made of."""

    box_xyxy: BoxXyxy  # px
    class_id: int


class Annotating:
    """Pictures to the instances that an export would have."""

    def __init__(self, settings: AnnotateCommand, classes: ClassList) -> None:
        """Loads the models. Raises ConfigError, PromptError, WeightsError."""
        self.classes = classes
        self.max_pixels = settings.dataset.max_pixels
        self._threshold = settings.threshold
        self._pipeline, weights = build_pipeline(settings, self.classes)
        models = [str(said.get("model", "")) for said in weights.values()]
        self.version = " ".join(["annotate", program(), *filter(None, models)])
        self._one_at_a_time = threading.Lock()  # a queue: memory is that of one picture

    def image(self, pixels: Image) -> list[Instance]:
        """Of an RGB picture (h, w, 3) uint8. Raises MemoryError, MediaError."""
        with self._one_at_a_time:
            (record,) = self._pipeline.stills([_frame(pixels)])
        return list(kept_instances(record, self.classes, self._threshold))

    def masks(self, pixels: Image, drawn: Sequence[Drawn]) -> list[Instance]:
        """Masks of boxes that people drew; their score is 1."""
        count = len(drawn)
        found = Detections(
            boxes_xyxy=np.array([d.box_xyxy for d in drawn], np.float32).reshape(-1, 4),
            scores=np.ones(count, np.float32),
            class_ids=np.array([d.class_id for d in drawn], np.int32),
            phrases=tuple(self.classes.names[d.class_id] for d in drawn),
            margins=np.ones(count, np.float32),
        )
        with self._one_at_a_time:
            record = self._pipeline.masks(_frame(pixels), found)
        return [i for i in record.instances if i.area]


def _frame(pixels: Image) -> Frame:
    return Frame(Item("picture", Path("picture")), pixels)
