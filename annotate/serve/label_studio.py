"""Label Studio's contract with a back-end of models: what it asks, and what it is answered.

`/health`, `/setup`, `/predict`, `/webhook` and `/train` as its documentation of custom back-ends
has them. An answer has one prediction a task; a task that cannot be done has an empty one that says
why.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.data import brush
from annotate.data.polygons import coco_polygons
from annotate.data.types import ClassList, Image, Instance, Rle, spoken
from annotate.errors import AnnotateError, ConfigError
from annotate.serve.annotating import Annotating, BoxXyxy, Models, Point
from annotate.serve.drawn import Drawn, drawn
from annotate.serve.label_config import Control, controls
from annotate.serve.server import FAULT, tell_fault

log = logging.getLogger(__name__)

POLYGON_TOLERANCE_PX = 1.0
ID_DIGITS = 10  # of the name of a region
Answer = dict[str, Any]
Labels = Mapping[tuple[str, int], str]
"""The label that a class has in a control, by its name and the class's id."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is told of an object."""

    mask: Rle
    box_xyxy: BoxXyxy  # px
    score: float
    class_id: int | None = None  # None: a person drew it, and said `label`
    label: str | None = None

    @staticmethod
    def of(instance: Instance) -> Found:
        """As the models found it."""
        return Found(instance.mask, instance.box_xyxy, instance.score, instance.class_id)

    def label_in(self, control: Control, labels: Labels) -> str | None:
        """What a control calls it; None: it has no word for it."""
        if self.class_id is not None:
            return labels.get((control.name, self.class_id))
        if self.label is None:  # drawn before a label was chosen
            return control.labels[0] if control.labels else None
        return self.label if self.label in control.labels else None


class LabelStudio:
    """Answers requests, given as what their JSON holds."""

    def __init__(self, models: Models, read: Callable[[str], Image]) -> None:
        """`read` gives the picture of what a task calls it. MediaError."""
        self._models, self._read = models, read

    def health(self) -> Answer:
        """Whether it is there, and who it is."""
        return {"status": "UP", "model_class": "annotate", "model_version": self._models.version}

    def setup(self, request: Mapping[str, Any]) -> Answer:
        """What a project is connected with; its interface is checked where it is told."""
        said = request.get("schema") or request.get("label_config")
        if isinstance(said, str) and said.strip():
            found = controls(said)
            _labels(found, self._models.classes(_all_labels(found)))
        return {"model_version": self._models.version}

    def told(self, request: Mapping[str, Any]) -> Answer:
        """What people did, or a wish to train: heard, and nothing is learnt of it."""
        return {"status": "ok", "detail": "annotate does not train on what people label"}

    def predict(self, request: Mapping[str, Any]) -> Answer:
        """Predictions for tasks. ConfigError: nothing of the request can be understood."""
        tasks, config = request.get("tasks"), request.get("label_config")
        if not isinstance(tasks, list) or not isinstance(config, str):
            raise ConfigError("predict: expected a list of tasks and a label_config")
        found = controls(config)
        wanted = _all_labels(found)
        labels = _labels(found, self._models.classes(wanted))
        annotating = self._models.of(wanted)
        params = request.get("params")
        context = params.get("context") if isinstance(params, Mapping) else None
        results = [self._prediction(annotating, t, found, labels, context) for t in tasks]
        return {"results": results, "model_version": annotating.version}

    def _prediction(
        self,
        annotating: Annotating,
        task: Any,
        found: Sequence[Control],
        labels: Labels,
        context: Any,
    ) -> Answer:
        empty: Answer = {"result": [], "score": 0.0, "model_version": annotating.version}
        try:
            key, name = _picture(task, found)
            pixels = self._read(name)
            asked = drawn(context, (pixels.shape[0], pixels.shape[1]))
            objects = _asked(annotating, pixels, asked)
        except (AnnotateError, MemoryError) as error:
            log.warning("label studio: %s", error)
            return empty | {"error": str(error) or "not enough memory for this picture"}
        except Exception:  # one task must not lose the others
            tell_fault("label studio: a task")
            return empty | {"error": FAULT}
        shown = [
            (c, n, one, label)
            for c in found
            if c.value == key
            for n, one in enumerate(objects)
            if (label := one.label_in(c, labels)) is not None
        ]
        regions = [region for c, n, one, label in shown for region in _regions(c, one, label, n)]
        scores = [one.score for one in objects]
        return empty | {"result": regions, "score": float(np.mean(scores)) if scores else 0.0}


def _asked(annotating: Annotating, pixels: Image, asked: Drawn | None) -> list[Found]:
    """What is asked of a picture: everything, unless a person points something out.

    Then it is the mask of each box, and of the object that points are on. Where the segmenter takes
    boxes alone, or nobody said what the points are on, it is what was found there.
    """
    if asked is None:
        return [Found.of(i) for i in annotating.image(pixels)]
    made = annotating.masks(pixels, [box for box, _ in asked.boxes]) if asked.boxes else []
    objects = [
        Found(*mask, 1.0, label=label)
        for mask, (_, label) in zip(made, asked.boxes, strict=True)
        if mask is not None
    ]
    if not asked.points:
        return objects
    mask = annotating.mask_at(pixels, asked.points) if asked.label is not None else None
    if mask is not None:
        return [*objects, Found(*mask, 1.0, label=asked.label)]
    there = (i for i in annotating.image(pixels) if _is_at(i, asked.points))
    return [*objects, *map(Found.of, there)]


def _all_labels(found: Sequence[Control]) -> list[str]:
    return list(dict.fromkeys(label for control in found for label in control.labels if label))


def _labels(found: Sequence[Control], classes: ClassList) -> Labels:
    """What each control calls each class. ConfigError: no class has a label."""
    labels = {
        (control.name, class_id): label
        for control in found
        for class_id, label in _labels_of(control, classes).items()
    }
    if not labels:
        raise ConfigError(
            f"label_config: none of its labels ({', '.join(_all_labels(found)) or 'none'}) is one "
            f"of the classes of prompts= ({', '.join(classes.names[:8])})"
        )
    return labels


def _picture(task: Any, found: Sequence[Control]) -> tuple[str, str]:
    """The key of a task's data that has a picture, and what it says. ConfigError."""
    data = task.get("data") if isinstance(task, Mapping) else None
    for control in found:
        if isinstance(data, Mapping) and isinstance(name := data.get(control.value), str):
            return control.value, name
    keys = ", ".join(dict.fromkeys(c.value for c in found))
    raise ConfigError(f"task: its data has no picture as {keys}")


def _labels_of(control: Control, classes: ClassList) -> dict[int, str]:
    """The label that each class has in a control, told by its name or one of its phrases."""
    named = {spoken(label).casefold(): label for label in control.labels}
    found = {}
    for class_id, spec in enumerate(classes.classes):
        texts = [spoken(text).casefold() for text in (spec.name, *spec.phrases)]
        if label := next((named[text] for text in texts if text in named), None):
            found[class_id] = label
    return found


def _is_at(instance: Instance, points: Sequence[Point]) -> bool:
    x0, y0, x1, y1 = instance.box_xyxy
    inside = [(x, y) for x, y, on in points if on and x0 <= x < x1 and y0 <= y < y1]
    if not inside:
        return False
    mask = instance.mask.decode()
    return any(bool(mask[int(y), int(x)]) for x, y in inside)


def _regions(control: Control, one: Found, label: str, number: int) -> list[Answer]:
    """The regions that show an object in a control."""
    h, w = one.mask.size_hw
    values: list[Answer]
    match control.kind:
        case "rectanglelabels":
            x0, y0, x1, y1 = one.box_xyxy
            sides = {"width": (x1 - x0) / w * 100, "height": (y1 - y0) / h * 100}
            values = [{"x": x0 / w * 100, "y": y0 / h * 100, **sides, "rotation": 0}]
        case "polygonlabels":
            values = [
                {"points": (np.reshape(p, (-1, 2)) / [w, h] * 100).tolist(), "closed": True}
                for p in coco_polygons(one.mask, POLYGON_TOLERANCE_PX)
            ]
        case _:
            values = [{"format": "rle", "rle": brush.packed(one.mask)}]
    return [
        {
            "id": _region_id(control.name, label, number, part, one.box_xyxy, one.mask.counts),
            "type": control.kind,
            "from_name": control.name,
            "to_name": control.to,
            "original_width": w,
            "original_height": h,
            "image_rotation": 0,
            "value": value | {control.kind: [label]},
            "score": one.score,
        }
        for part, value in enumerate(values)
    ]


def _region_id(*what: object) -> str:
    """A name that no other region of a picture has, and the same one for the same answer.

    A region that a person accepts replaces the one of that name that is there: an answer to the
    next click must not have the names of the answer to the last.
    """
    return hashlib.sha256(repr(what).encode()).hexdigest()[:ID_DIGITS]
