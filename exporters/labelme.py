"""LabelMe: `<name>.json` beside each picture, a shape for each part of a mask.

Shapes of one object share a `group_id`: its track in a video, its place in a still. Holes are cut
open by bridges as in COCO, or kept as LabelMe's own masks. Outlines lie a little inside of the
pixels' edges: LabelMe paints their borders as well.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast

from PIL import Image as PilImage
from pycocotools import mask as coco_mask
from pydantic import FiniteFloat

from annotate.data import geometry
from annotate.data.checks import within
from annotate.data.polygons import inset_polygons
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.coco_document import Entry, as_json, said_of
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

VERSION = "5.5.0"  # of the files; LabelMe reads older ones and newer


class Labelme(Exporter):
    """`masks` as polygons, or as exact masks (LabelMe >= 5.3); `tolerance` of polygons in px."""

    tracked = True
    loading = """
import json, pathlib

for path in pathlib.Path(".").rglob("*.json"):  # or: labelme . --labels labels.txt
    shapes = json.loads(path.read_text())["shapes"]
"""

    layout = Layout(folder="", labelled=True)

    def __init__(
        self,
        *,
        masks: Literal["polygons", "masks"],
        tolerance: Annotated[FiniteFloat, within(0)],
    ) -> None:
        self._tolerance = tolerance if masks == "polygons" else None

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a json for each picture; memory does not grow with the run."""
        names = pictures.classes.names
        for picture in pictures:
            target = folder / PurePosixPath(picture.name).with_suffix(".json")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = as_json(self._document(picture, names))
            target.write_text(text + "\n", encoding="ascii", newline="\n")
        (folder / "labels.txt").write_text(
            "".join(f"{name}\n" for name in names), encoding="utf-8", newline="\n"
        )
        return {}

    def _document(self, picture: Picture, names: list[str]) -> Entry:
        return {
            "version": VERSION,
            "flags": {},
            "shapes": [
                {
                    "label": names[instance.class_id],
                    "group_id": instance.track_id or number,
                    "description": "",
                    "flags": {},
                    **shape,
                    **said_of(instance),
                }
                for number, instance in enumerate(picture.instances, start=1)
                for shape in self._shapes(instance)
            ],
            "imagePath": PurePosixPath(picture.name).name,
            "imageData": None,
            "imageHeight": picture.record.height,
            "imageWidth": picture.record.width,
        }

    def _shapes(self, instance: Instance) -> Iterator[Entry]:
        if self._tolerance is None:
            yield _mask(instance)
            return
        for polygon in inset_polygons(instance.mask, self._tolerance):
            yield {"points": polygon.round(2).tolist(), "shape_type": "polygon", "mask": None}


def _mask(instance: Instance) -> Entry:
    """A PNG of the part of the picture between two corners, both of them inside."""
    x, y, w, h = (int(v) for v in cast(Any, coco_mask.toBbox(instance.mask.coco)))
    mask = instance.mask
    part = geometry.decode_crop(mask.counts, mask.size_hw, (x, y, x + w, y + h))
    png = BytesIO()
    PilImage.fromarray(part).save(png, "PNG")
    return {
        "points": [[float(x), float(y)], [float(x + w - 1), float(y + h - 1)]],
        "shape_type": "mask",
        "mask": base64.b64encode(png.getvalue()).decode("ascii"),
    }
