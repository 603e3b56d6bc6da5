"""A few pictures of a dataset, and what every phrase finds on them by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import batched_nms

from annotate.data.examples import asked_texts
from annotate.data.types import ClassList, ClassSpec, Detections, Frame, Item
from annotate.decode.download import at_hand
from annotate.decode.image import read_image
from annotate.decode.video import frames_promised, open_video
from annotate.errors import MediaError
from annotate.ground.base import Grounder
from annotate.ground.select import Detector
from annotate.runner.plan import Plan, sample

log = logging.getLogger(__name__)

FLOOR = 0.05  # score from which a box is looked at
LATEST = 100  # frame of a video: those before it are decoded


@dataclass(frozen=True, slots=True)
class Look:
    """One picture with the boxes of every phrase, the best first."""

    frame: Frame
    boxes_xyxy: npt.NDArray[np.float32]  # (n, 4) px
    scores: npt.NDArray[np.float32]  # (n,)
    phrase_ids: npt.NDArray[np.int32]  # (n,) index into `Phrases.texts`
    class_ids: npt.NDArray[np.int32]  # (n,) index into the class list
    best_of_class: npt.NDArray[np.bool_]  # (n,) no better phrase of its class found the same


@dataclass(frozen=True, slots=True)
class Phrases:
    """Every phrase and example of a class list, as a class of its own."""

    texts: tuple[str, ...]
    class_of: tuple[int, ...]
    examples: tuple[str | None, ...]  # where a text stands for one

    @classmethod
    def of(cls, classes: ClassList) -> Phrases:
        rows = [
            (text, c, example)
            for c, spec in enumerate(classes.classes)
            for text, example in zip(
                asked_texts(spec), [*[None] * len(spec.phrases), *spec.like], strict=True
            )
        ]
        return cls(*zip(*rows, strict=True))

    def alone(self, classes: ClassList) -> ClassList:
        """A class list that asks for each, with the negatives of its class."""
        specs = classes.classes
        return ClassList(
            tuple(
                ClassSpec(
                    f"{n}: {text}",
                    () if example else (text,),
                    specs[c].negatives,
                    like=(example,) if example else (),
                )
                for n, (text, c, example) in enumerate(
                    zip(self.texts, self.class_of, self.examples, strict=True)
                )
            )
        )


def looks(plan: Plan, phrases: Phrases, count: int) -> Iterator[Look]:
    """Load the grounder, and look at so many pictures, spread over the dataset.

    What cannot be read is warned about. A grounder that is paid keeps its answers in the run
    folder, for previews to come. Raises WeightsError.
    """
    settings = plan.settings
    grounder: Grounder = settings.grounder.make(Grounder)
    folder = next(plan.run_folders())
    if isinstance(folder, Path):
        grounder.keep_in(folder)
    grounder.load(phrases.alone(plan.classes))
    # Phrases do not compete here, so that each shows what it can do.
    ground = replace(settings.ground, floor=min(FLOOR, settings.ground.floor), cross_class_iou=1.0)
    detector = Detector(grounder, ground)
    for item in sample(plan.found.items, count):
        try:
            frame = _frame(item, settings.dataset.max_pixels)
            (found,) = detector.find([frame])
        except (MediaError, OSError) as error:
            log.warning("%s: %s", item.name, error)
            continue
        yield _looked(frame, found, phrases, settings.ground.nms_iou)


def _frame(item: Item, max_pixels: int) -> Frame:
    with at_hand(item) as here:
        if here.media == "image":
            return Frame(item, read_image(here.path, max_pixels=max_pixels, depth=item.depth))
        try:
            middle = min(LATEST, frames_promised(here) // 2)
        except MediaError:
            middle = 0
        frames = open_video(here, max_pixels=max_pixels).frames_at([middle])
        frame = next(iter(frames), None)
        if frame is None:
            raise MediaError(f"it ends before frame {middle}")
        return frame


def _looked(frame: Frame, found: Detections, phrases: Phrases, nms_iou: float) -> Look:
    class_ids = np.array(phrases.class_of, np.int32)[found.class_ids]
    boxes, scores = torch.from_numpy(found.boxes_xyxy), torch.from_numpy(found.scores)
    best = np.zeros(len(found), bool)
    best[batched_nms(boxes, scores, torch.from_numpy(class_ids).long(), nms_iou).numpy()] = True
    return Look(frame, found.boxes_xyxy, found.scores, found.class_ids, class_ids, best)
