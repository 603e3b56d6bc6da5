"""Label Studio's contract with a back-end of models: what it asks, and what it is answered.

`/health`, `/setup`, `/predict` and `/webhook` as its documentation of custom back-ends has them. An
answer has one prediction a task; a task that cannot be done has an empty one that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from annotate.data import brush
from annotate.data.polygons import coco_polygons
from annotate.data.types import ClassList, Image, Instance, spoken
from annotate.errors import AnnotateError, ConfigError
from annotate.serve.annotating import Annotating, Drawn
from annotate.serve.label_config import Control, controls

log = logging.getLogger(__name__)

POLYGON_TOLERANCE_PX = 1.0
Answer = dict[str, Any]


class LabelStudio:
    """Answers requests, given as what their JSON holds."""

    def __init__(self, annotating: Annotating, read: Callable[[str], Image]) -> None:
        """`read` gives the picture of what a task calls it. MediaError."""
        self._annotating, self._read = annotating, read

    def health(self) -> Answer:
        """Whether it is there, and who it is."""
        return {
            "status": "UP",
            "model_class": "annotate",
            "model_version": self._annotating.version,
        }

    def setup(self, request: Mapping[str, Any]) -> Answer:
        """What a project is connected with; its interface is checked where it is told."""
        said = request.get("schema") or request.get("label_config")
        if isinstance(said, str) and said.strip():
            self._labels(controls(said))
        return {"model_version": self._annotating.version}

    def predict(self, request: Mapping[str, Any]) -> Answer:
        """Predictions for tasks. ConfigError: nothing of the request can be understood."""
        tasks, config = request.get("tasks"), request.get("label_config")
        if not isinstance(tasks, list) or not isinstance(config, str):
            raise ConfigError("predict: expected a list of tasks and a label_config")
        found = controls(config)
        labels = self._labels(found)
        params = request.get("params")
        context = params.get("context") if isinstance(params, Mapping) else None
        return {"results": [self._prediction(task, found, labels, context) for task in tasks]}

    def _labels(self, found: Sequence[Control]) -> dict[tuple[str, int], str]:
        """The label that a class has in a control, by its name and the class's id. ConfigError."""
        labels = {
            (control.name, class_id): label
            for control in found
            for class_id, label in _labels_of(control, self._annotating.classes).items()
        }
        if not labels:
            wanted = ", ".join(dict.fromkeys(label for c in found for label in c.labels)) or "none"
            raise ConfigError(
                f"label_config: none of its labels ({wanted}) is one of the classes of prompts= "
                f"({', '.join(self._annotating.classes.names[:8])})"
            )
        return labels

    def _prediction(
        self,
        task: Any,
        found: Sequence[Control],
        labels: Mapping[tuple[str, int], str],
        context: Any,
    ) -> Answer:
        empty: Answer = {"result": [], "score": 0.0, "model_version": self._annotating.version}
        try:
            key, name = _picture(task, found)
            instances = self._instances(self._read(name), context, labels)
        except (AnnotateError, MemoryError) as error:
            log.warning("label studio: %s", error)
            return empty | {"error": str(error) or "not enough memory for this picture"}
        regions = [
            region
            for c in found
            if c.value == key
            for n, instance in enumerate(instances)
            if (label := labels.get((c.name, instance.class_id))) is not None
            for region in _regions(c, instance, label, n)
        ]
        scores = [instance.score for instance in instances]
        return empty | {"result": regions, "score": float(np.mean(scores)) if scores else 0.0}

    def _instances(
        self, pixels: Image, context: Any, labels: Mapping[tuple[str, int], str]
    ) -> list[Instance]:
        """What is asked of a picture: everything, unless a person points something out.

        Then it is the mask of a box that was drawn, or what was found where a point was set.
        """
        drawn = context.get("result") if isinstance(context, Mapping) else None
        if not drawn:
            return self._annotating.image(pixels)
        shapes = [shape for shape in drawn if isinstance(shape, Mapping)]
        by_name = {label: class_id for (_, class_id), label in labels.items()}
        boxes: list[Drawn] = []
        points: list[tuple[float, float]] = []
        h, w = pixels.shape[:2]
        for shape in shapes:
            value = shape.get("value")
            if not isinstance(value, Mapping):
                continue
            try:
                x, y = float(value["x"]) * w / 100, float(value["y"]) * h / 100
                wide, high = float(value.get("width", 0)), float(value.get("height", 0))
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError("context: a shape without x and y in percent") from error
            if shape.get("type") == "keypointlabels":
                points.append((x, y))
            elif wide > 0 and high > 0:
                named = value.get(str(shape.get("type"))) or [None]
                class_id = by_name.get(named[0], next(iter(by_name.values())))
                box = (x, y, x + wide * w / 100, y + high * h / 100)
                clipped = np.clip(box, 0, [w, h, w, h]).tolist()
                boxes.append(Drawn((clipped[0], clipped[1], clipped[2], clipped[3]), class_id))
        masked = self._annotating.masks(pixels, boxes) if boxes else []
        if points:
            masked += [i for i in self._annotating.image(pixels) if _is_at(i, points)]
        return masked


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


def _is_at(instance: Instance, points: Sequence[tuple[float, float]]) -> bool:
    x0, y0, x1, y1 = instance.box_xyxy
    inside = [(x, y) for x, y in points if x0 <= x < x1 and y0 <= y < y1]
    if not inside:
        return False
    mask = instance.mask.decode()
    return any(bool(mask[int(y), int(x)]) for x, y in inside)


def _regions(control: Control, instance: Instance, label: str, number: int) -> list[Answer]:
    """The regions that show an instance in a control."""
    h, w = instance.mask.size_hw
    values: list[Answer]
    match control.kind:
        case "rectanglelabels":
            x0, y0, x1, y1 = instance.box_xyxy
            sides = {"width": (x1 - x0) / w * 100, "height": (y1 - y0) / h * 100}
            values = [{"x": x0 / w * 100, "y": y0 / h * 100, **sides, "rotation": 0}]
        case "polygonlabels":
            values = [
                {"points": (np.reshape(p, (-1, 2)) / [w, h] * 100).tolist(), "closed": True}
                for p in coco_polygons(instance.mask, POLYGON_TOLERANCE_PX)
            ]
        case _:
            values = [{"format": "rle", "rle": brush.packed(instance.mask)}]
    return [
        {
            "id": f"{control.name}-{number}-{part}",
            "type": control.kind,
            "from_name": control.name,
            "to_name": control.to,
            "original_width": w,
            "original_height": h,
            "image_rotation": 0,
            "value": value | {control.kind: [label]},
            "score": instance.score,
        }
        for part, value in enumerate(values)
    ]
