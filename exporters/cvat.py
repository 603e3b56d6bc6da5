"""CVAT 1.1: `annotations.xml` of the stills, and one in the folder of each video, tracks as tracks.

Stills are in `images/`, to be a task of images; their masks are run lengths. Each folder below
`videos/` is a task of its own, with its frames in `images/`: CVAT has no masks in tracks, so that
a track has an outline in each frame, parts and holes joined by bridges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import IO, Annotated, Any, cast
from xml.etree import ElementTree

import numpy as np
from pycocotools import mask as coco_mask
from pydantic import FiniteFloat

from annotate.data import geometry
from annotate.data.checks import within
from annotate.data.polygons import count_loss, joined_ring
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.by_track import OTHER_CLASS, ByTrack, once_a_track
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures
from exporters.xml_text import element, plain

ATTRIBUTES = ("score", "phrase")


class Cvat(Exporter):
    """`tolerance` is how far the outlines of tracks may leave the mask's edge, in px."""

    tracked = True
    once_a_track = True
    loading = """
from xml.etree import ElementTree

images = ElementTree.parse("annotations.xml").findall("image")  # of the stills
# In CVAT: a task of images/, then Upload annotations, CVAT 1.1; of each video, one of its own.
"""

    layout = Layout(
        folder="",
        still="images/{item}",
        frame="videos/{item}/images/frame_{number:06d}",
        labelled=True,
    )

    def __init__(self, *, tolerance: Annotated[FiniteFloat, within(0)]) -> None:
        self._tolerance = tolerance

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write the xml files; memory does not grow with the run."""
        not_held: Counter[str] = Counter()
        names = pictures.classes.names
        number = 0
        with _written(folder / "annotations.xml") as stills:
            stills.add(_meta(names))
            for (media, _), of_item in groupby(pictures, lambda p: (p.record.media, p.record.item)):
                if media == "video":
                    self._video(folder, of_item, names, not_held)
                    continue
                for picture in of_item:
                    stills.add(_image(picture, number, names))
                    number += 1
        return +not_held

    def _video(
        self, folder: Path, of_video: Iterator[Picture], names: list[str], not_held: Counter[str]
    ) -> None:
        with ByTrack(folder) as by_track:
            seen: dict[int, Instance] = {}
            for picture in of_video:
                for instance in once_a_track(picture.instances, not_held):
                    of_track = seen.setdefault(instance.track_id, instance)
                    not_held[OTHER_CLASS] += of_track.class_id != instance.class_id
                    ring, iou = joined_ring(instance.mask, self._tolerance)
                    count_loss(iou, not_held)
                    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)
                    by_track.add(instance.track_id, picture.number, points)
            with _written(folder / "videos" / picture.item / "annotations.xml") as written:
                written.add(_meta(names, picture))
                for track_id, instance in seen.items():
                    shapes = by_track.of(track_id)
                    written.add(_track(instance, names, shapes, picture.number))


class _Written:
    """An xml that is written an element at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> _Written:
        self._file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        version = ElementTree.Element("version")
        version.text = "1.1"
        self.add(version)
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.write(b"</annotations>\n")
        self._file.close()

    def add(self, made: ElementTree.Element) -> None:
        """Write an element."""
        ElementTree.indent(made)
        self._file.write(ElementTree.tostring(made, encoding="utf-8") + b"\n")


def _written(path: Path) -> _Written:
    path.parent.mkdir(parents=True, exist_ok=True)
    return _Written(path.open("wb"))


def _meta(names: list[str], last: Picture | None = None) -> ElementTree.Element:
    """The labels, and of a video that ends with `last` its frames."""
    meta = ElementTree.Element("meta")
    task = element(meta, "task")
    if last is not None:
        element(task, "name", last.record.item)
        element(task, "size", last.number + 1)
        element(task, "mode", "interpolation")
        element(task, "subset", last.split or "default")
        size = element(task, "original_size")
        element(size, "width", last.record.width)
        element(size, "height", last.record.height)
        element(meta, "source", last.record.item)
    labels = element(task, "labels")
    for name in names:
        label = element(labels, "label")
        element(label, "name", name)
        attributes = element(label, "attributes")
        for attribute in ATTRIBUTES:
            made = element(attributes, "attribute")
            for key, value in (
                ("name", attribute), ("mutable", "False"), ("input_type", "text"),
                ("default_value", ""), ("values", ""),
            ):  # fmt: skip
                element(made, key, value)
    return meta


def _attributes(shape: ElementTree.Element, instance: Instance) -> None:
    said = {"score": f"{instance.score:.6g}", "phrase": instance.phrase}
    for name, value in said.items():
        element(shape, "attribute", value).set("name", name)


def _image(picture: Picture, number: int, names: list[str]) -> ElementTree.Element:
    said = {
        "id": str(number),
        "name": plain(picture.name.removeprefix("images/")),
        "width": str(picture.record.width),
        "height": str(picture.record.height),
    }
    image = ElementTree.Element(
        "image", said | ({"subset": picture.split} if picture.split else {})
    )
    for instance in picture.instances:
        place = _run_lengths(instance) | {"label": plain(names[instance.class_id])}
        mask = ElementTree.SubElement(
            image, "mask", place | {"source": "auto", "occluded": "0", "z_order": "0"}
        )
        _attributes(mask, instance)
    return image


def _run_lengths(instance: Instance) -> dict[str, str]:
    """A mask row by row, from nothing on, of the part of its picture that its box is."""
    x, y, w, h = (int(v) for v in cast(Any, coco_mask.toBbox(instance.mask.coco)))
    mask = instance.mask
    part = geometry.decode_crop(mask.counts, mask.size_hw, (x, y, x + w, y + h)).ravel()
    edges = np.flatnonzero(np.diff(part, prepend=False))
    runs = np.diff(np.concatenate([[0], edges, [part.size]]))
    return {
        "rle": ", ".join(map(str, runs.tolist())),
        "left": str(x),
        "top": str(y),
        "width": str(w),
        "height": str(h),
    }


def _track(
    instance: Instance, names: list[str], shapes: Iterator[tuple[int, str]], last: int
) -> ElementTree.Element:
    """Every frame is a key frame; where the object is not seen, its last outline is outside."""
    said = {"id": str(instance.track_id), "label": plain(names[instance.class_id])}
    track = ElementTree.Element("track", said | {"source": "auto"})

    def add(frame: int, points: str, *, outside: bool) -> None:
        flags = {"outside": str(int(outside)), "occluded": "0", "keyframe": "1", "z_order": "0"}
        shape = ElementTree.SubElement(
            track, "polygon", {"frame": str(frame), "points": points} | flags
        )
        _attributes(shape, instance)

    before: tuple[int, str] | None = None
    for frame, points in shapes:
        if before is not None and before[0] + 1 < frame:
            add(before[0] + 1, before[1], outside=True)
        add(frame, points, outside=False)
        before = frame, points
    if before is not None and before[0] < last:
        add(before[0] + 1, before[1], outside=True)
    return track
