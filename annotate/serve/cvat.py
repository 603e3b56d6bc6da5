"""A function for CVAT's automatic annotation: the same pipeline on the frames of a task.

    cvat-cli task auto-annotate TASK --function-module annotate.serve.cvat \\
        -p models=str:balanced -p prompts=str:classes.txt --allow-unmatched-labels

As cvat-sdk's protocol of detection functions has it: `create` makes one, its `spec` lists the
labels, `detect` gives the masks of a picture, as polygons where a task asks for those, or
rectangles with `segment=none`. Frames are looked at one by one; for tracks, annotate the video and
upload the export `cvat`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.polygons import coco_polygons
from annotate.data.types import Instance
from annotate.decode.pixels import pixels_of
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError
from annotate.serve.annotating import Annotating

if TYPE_CHECKING:
    import cvat_sdk.auto_annotation as cvataa
    from cvat_sdk import models
    from PIL import Image as PilImage

TOLERANCE_PX = 1.0  # by which a polygon may leave the mask


def create(**keys: Any) -> CvatFunction:
    """A function with these keys of the command line: `prompts`, `models`, `threshold`, ...

    A dot in a key is written as two underscores. Raises AnnotateError.
    """
    argv = [f"{key.replace('__', '.')}={value}" for key, value in keys.items()]
    given = [] if "dataset" in keys else ["dataset=."]
    settings = typed(compose([*argv, *given], "config"), AnnotateCommand)
    return CvatFunction(Annotating(settings, load_prompts(settings.prompts)))


class CvatFunction:
    """See `cvat_sdk.auto_annotation.DetectionFunction`."""

    def __init__(self, annotating: Annotating) -> None:
        try:
            import cvat_sdk.auto_annotation as cvataa
            from cvat_sdk.masks import encode_mask
        except ImportError as error:
            raise ConfigError("a function for CVAT needs its SDK: pip install cvat-sdk") from error
        self._cvat, self._encode_mask, self._annotating = cvataa, encode_mask, annotating
        names = annotating.classes.names
        self._labels = [cvataa.label_spec(name, i, type="any") for i, name in enumerate(names)]

    @property
    def spec(self) -> cvataa.DetectionFunctionSpec:
        """The classes, by their ids."""
        return self._cvat.DetectionFunctionSpec(labels=self._labels)

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: PilImage.Image
    ) -> Sequence[models.LabeledShapeRequest]:
        """Shapes of what scores the threshold of CVAT's, or else the one of this function.

        A class with a threshold of its own must score that as well.
        """
        pixels = pixels_of(image, context.frame_name)
        found = self._annotating.image(pixels, context.conf_threshold)
        least = context.conf_threshold or 0.0
        return [
            shape
            for instance in found
            if instance.score >= least
            for shape in self._shapes(instance, as_polygons=context.conv_mask_to_poly)
        ]

    def _shapes(
        self, instance: Instance, *, as_polygons: bool
    ) -> Iterator[models.LabeledShapeRequest]:
        if self._annotating.boxes_only:
            yield self._cvat.rectangle(instance.class_id, list(instance.box_xyxy))
            return
        if as_polygons:
            for polygon in coco_polygons(instance.mask, TOLERANCE_PX):
                points = [float(v) for v in polygon]
                yield self._cvat.polygon(instance.class_id, points)
            return
        points = self._encode_mask(instance.mask.decode(), list(instance.box_xyxy))
        yield self._cvat.mask(instance.class_id, points)
