"""Label Studio: `tasks.json` with predictions, beside `images/` and the `label_config.xml` to use.

Pictures are named as Label Studio serves local files: `prefix`, then the path below the export. A
mask is a brush, which is exact, or a polygon for each of its parts. Tracks are named in `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
from pydantic import FiniteFloat

from annotate.data import brush
from annotate.data.checks import within
from annotate.data.polygons import coco_polygons
from annotate.data.types import ClassList, Instance, Rle
from exporters.base import Exporter
from exporters.coco_document import Entry, as_json
from exporters.layout import Layout
from exporters.palette import COLOURS, PALETTE
from exporters.pictures import Picture, Pictures
from exporters.xml_text import plain, write_xml


class LabelStudio(Exporter):
    """`masks` as brush or as polygons, `tolerance` of these in px; `prefix` begins urls."""

    loading = """
import json

tasks = json.load(open("tasks.json"))
# In Label Studio: a project with label_config.xml, this folder as local storage, Import tasks.json.
"""

    layout = Layout(still="{item}", frame="{item}/{index:06d}")

    def __init__(
        self,
        *,
        masks: Literal["brush", "polygons"],
        tolerance: Annotated[FiniteFloat, within(0)],
        prefix: str,
    ) -> None:
        self._tolerance = tolerance if masks == "polygons" else None
        self._prefix = prefix

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a task for each picture; memory does not grow with the run."""
        names = pictures.classes.names
        write_xml(folder / "label_config.xml", self._config(pictures.classes))
        with (folder / "tasks.json").open("w", encoding="ascii", newline="\n") as file:
            file.write("[")
            for n, picture in enumerate(pictures):
                file.write((",\n" if n else "\n") + as_json(self._task(picture, names)))
            file.write("\n]\n")
        return {}

    @property
    def _kind(self) -> str:
        return "brushlabels" if self._tolerance is None else "polygonlabels"

    def _config(self, classes: ClassList) -> ElementTree.Element:
        view = ElementTree.Element("View")
        image = {"name": "image", "value": "$image", "zoom": "true", "zoomControl": "true"}
        ElementTree.SubElement(view, "Image", image)
        control = "BrushLabels" if self._tolerance is None else "PolygonLabels"
        labels = ElementTree.SubElement(view, control, {"name": "label", "toName": "image"})
        for i, spec in enumerate(classes.classes):
            r, g, b = PALETTE[i % (COLOURS - 1) + 1]
            colour = spec.colour or f"#{r:02x}{g:02x}{b:02x}"
            ElementTree.SubElement(
                labels, "Label", {"value": plain(spec.name), "background": colour}
            )
        return view

    def _task(self, picture: Picture, names: list[str]) -> Entry:
        scores = [i.score for i in picture.instances]
        data = {"image": self._prefix + quote(f"images/{picture.name}"), "source": picture.source}
        return {
            "data": data | ({"set": picture.split} if picture.split else {}),
            "predictions": [
                {
                    "model_version": "annotate",
                    "score": sum(scores) / len(scores) if scores else 0.0,
                    "result": [
                        region
                        for number, instance in enumerate(picture.instances)
                        for region in self._regions(instance, number, names[instance.class_id])
                    ],
                }
            ],
        }

    def _regions(self, instance: Instance, number: int, name: str) -> Iterator[Entry]:
        h, w = instance.mask.size_hw
        told = [instance.phrase, *([f"track {instance.track_id}"] if instance.track_id else [])]
        for part, shape in enumerate(self._shapes(instance.mask)):
            yield {
                "id": f"{number}-{part}",
                "type": self._kind,
                "from_name": "label",
                "to_name": "image",
                "original_width": w,
                "original_height": h,
                "image_rotation": 0,
                "value": shape | {self._kind: [plain(name)]},
                "score": instance.score,
                "meta": {"text": told},
            }

    def _shapes(self, mask: Rle) -> Iterator[Entry]:
        if self._tolerance is None:
            yield {"format": "rle", "rle": brush.packed(mask)}
            return
        h, w = mask.size_hw
        for polygon in coco_polygons(mask, self._tolerance):
            points = np.array(polygon).reshape(-1, 2) / [w, h] * 100
            yield {"points": points.round(6).tolist(), "closed": True}
