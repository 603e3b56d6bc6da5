"""Label Studio: `tasks.json` with predictions, beside `images/` and the `label_config.xml` to use.

Pictures are named as Label Studio serves local files: `prefix`, then the path below the export. A
mask is a brush, which is exact, or a polygon for each of its parts. Tracks are named in `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pydantic import FiniteFloat

from annotate.data import geometry
from annotate.data.checks import within
from annotate.data.types import ClassList, Instance, Rle
from exporters.base import Exporter
from exporters.coco_document import Entry, as_json
from exporters.layout import Layout
from exporters.palette import COLOURS, PALETTE
from exporters.pictures import Picture, Pictures
from exporters.polygons import coco_polygons
from exporters.xml_text import plain, write_xml

WORD_BITS = 8  # of a value
LENGTH_BITS = (3, 4, 8, 16)  # that the length of a run may take
OPAQUE = 255
CHANNELS = 4  # a brush is a picture RGBA


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
            yield {"format": "rle", "rle": brush(mask)}
            return
        h, w = mask.size_hw
        for polygon in coco_polygons(mask, self._tolerance):
            points = np.array(polygon).reshape(-1, 2) / [w, h] * 100
            yield {"points": points.round(6).tolist(), "closed": True}


def brush(mask: Rle) -> list[int]:
    """Label Studio's run lengths of a mask as bytes 0..255: those of `@thi.ng/rle-pack`.

    A head of 32 bits with the number of values, 5 with the bits of one less 1, and four times 4
    with the bits of a length less 1. Then for each run a bit that it is one, 2 for which of these
    lengths it has, the length less 1, and its value. Values are of a picture RGBA, row by row.
    """
    h, w = mask.size_hw
    lengths, values = _runs(mask)
    most = 1 << LENGTH_BITS[-1]
    pieces = -(-lengths // most)
    values = np.repeat(values, pieces)
    ends = np.cumsum(pieces)
    last = lengths - (pieces - 1) * most
    lengths = np.full(len(values), most)
    lengths[ends - 1] = last
    kind = np.searchsorted(1 << np.array(LENGTH_BITS), lengths)
    wide = np.array(LENGTH_BITS)[kind]
    # Each run as one number, its first bit highest.
    text = (1 << 2 | kind).astype(np.uint64) << wide.astype(np.uint64)
    text = (text | (lengths - 1).astype(np.uint64)) << np.uint64(WORD_BITS) | values.astype(
        np.uint64
    )
    bits = 3 + wide + WORD_BITS
    places = np.arange(3 + LENGTH_BITS[-1] + WORD_BITS)[None]
    shift = (bits[:, None] - 1 - places).clip(0)
    unpacked = (text[:, None] >> shift.astype(np.uint64) & np.uint64(1)).astype(np.uint8)
    body = unpacked[places < bits[:, None]]
    head = f"{h * w * CHANNELS:032b}{WORD_BITS - 1:05b}" + "".join(
        f"{n - 1:04b}" for n in LENGTH_BITS
    )
    packed = np.packbits(np.concatenate([np.array(list(head), np.uint8), body]))
    return packed.tolist()


def _runs(mask: Rle) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lengths and values of the runs of the picture RGBA that a brush is, row by row."""
    h, w = mask.size_hw
    x, y, bw, bh = (int(v) for v in cast(Any, coco_mask.toBbox(mask.coco)))
    part = geometry.decode_crop(mask.counts, mask.size_hw, (x, y, x + bw, y + bh))
    framed = np.zeros((bh, bw + 2), np.int8)
    framed[:, 1:-1] = part
    edges = np.flatnonzero(np.diff(framed.ravel()))
    row, column = np.divmod(edges, bw + 2)
    at = (row + y) * w + column + x
    bounds = np.concatenate([[0], at, [h * w]])
    lengths = np.diff(bounds)
    values = np.arange(len(lengths)) % 2 * OPAQUE
    filled = lengths > 0
    return lengths[filled] * CHANNELS, values[filled]
