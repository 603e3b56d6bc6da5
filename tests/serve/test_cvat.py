"""A function for CVAT, held against cvat-sdk's own types and its way of reading masks."""

from __future__ import annotations

import logging
from pathlib import Path

import cvat_sdk.auto_annotation as cvataa
import cvat_sdk.models as cvat_models
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate import Annotator
from annotate.serve import cvat
from tests.serve.conftest import PROMPTS


class Context(cvataa.DetectionFunctionContext):
    """What CVAT tells of a frame."""

    def __init__(self, *, threshold: float | None = None, polygons: bool = False) -> None:
        self._threshold, self._polygons = threshold, polygons

    frame_name = property(lambda self: "a.png")
    conf_threshold = property(lambda self: self._threshold)
    conv_mask_to_poly = property(lambda self: self._polygons)


@pytest.fixture(scope="module")
def function() -> cvat.CvatFunction:
    return cvat.create(models="tiny", prompts=PROMPTS)


def test_its_labels_are_the_classes(function: cvat.CvatFunction) -> None:
    assert isinstance(function.spec, cvataa.DetectionFunctionSpec)
    labels = {label.id: label.name for label in function.spec.labels}
    assert labels == {0: "red circle", 1: "blue square", 2: "green triangle"}


def test_shapes_are_what_the_command_line_finds(function: cvat.CvatFunction, stills: Path) -> None:
    annotator = Annotator(prompts=["red circle", "blue square", "green triangle"], models="tiny")
    total = 0
    for path in sorted(stills.glob("*.png")):
        image = PilImage.open(path)
        shapes = function.detect(Context(), image)
        expected = annotator.image(path).instances
        assert [s.label_id for s in shapes] == [i.class_id for i in expected]
        for shape, instance in zip(shapes, expected, strict=True):
            assert (shape.type.value, shape.frame) == ("mask", 0)
            *runs, x0, y0, x1, y1 = (int(v) for v in shape.points)
            values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
            whole = np.zeros(image.size[::-1], bool)
            whole[y0 : y1 + 1, x0 : x1 + 1] = values.reshape(y1 - y0 + 1, x1 - x0 + 1)
            assert (whole == instance.mask.decode()).all()
        total += len(shapes)
    assert total > 0


@pytest.mark.parametrize(
    ("kind", "keys", "polygons"),
    [("mask", {}, False), ("polygon", {}, True), ("rectangle", {"segment": "none"}, False)],
)
def test_cvat_takes_what_it_gives(
    stills: Path, kind: str, keys: dict[str, str], polygons: bool
) -> None:
    """As its driver checks labels and shapes before they are sent to a task."""
    from cvat_sdk.auto_annotation import driver

    function = cvat.create(models="tiny", prompts=PROMPTS, **keys)
    labels = [
        cvat_models.Label._from_openapi_data(
            id=10 + n, name=spec.name, type=kind, attributes=[], sublabels=[]
        )
        for n, spec in enumerate(function.spec.labels)
    ]
    mapper = driver._AnnotationMapper(
        logging.getLogger(),
        function.spec.labels,
        labels,
        allow_unmatched_labels=False,
        conv_mask_to_poly=polygons,
    )
    taken = []
    for path in sorted(stills.glob("*.png")):
        shapes = list(function.detect(Context(polygons=polygons), PilImage.open(path)))
        mapper.validate_and_remap(shapes, 7)
        taken += shapes
    assert taken and {(s.type.value, s.frame) for s in taken} == {(kind, 7)}
    assert {s.label_id for s in taken} <= {10, 11, 12}


def test_it_gives_polygons_and_heeds_a_threshold(function: cvat.CvatFunction, stills: Path) -> None:
    image = PilImage.open(sorted(stills.glob("*.png"))[0])
    polygons = function.detect(Context(polygons=True), image)
    assert polygons and {s.type.value for s in polygons} == {"polygon"}
    assert function.detect(Context(threshold=1.0), image) == []
    counts = [len(function.detect(Context(threshold=t), image)) for t in (0.1, None, 0.6)]
    assert counts == sorted(counts, reverse=True)
    lower = cvat.create(models="tiny", prompts=PROMPTS, threshold=0.1).detect(Context(), image)
    assert counts[0] == len(lower)  # CVAT's stands in for ours, below it as well
