"""Pascal VOC: `Annotations/<name>.xml` beside `JPEGImages/`, lists in `ImageSets/`.

Boxes are whole pixels that count from 1, the last one inside, as VOC has them. Masks are in
`SegmentationObject/` and `SegmentationClass/`, a pixel of one object each; objects are numbered as
the xml lists them. `labelmap.txt` names the classes, for Datumaro and CVAT; where it cannot hold a
name, the xml has the name itself as an attribute `class`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO
from xml.etree import ElementTree

from annotate.data.names import told_apart
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.coco_document import said_of
from exporters.layers import HIDDEN_MASK, Layers
from exporters.layout import Layout
from exporters.palette import COLOURS, PALETTE, write_indexed
from exporters.pictures import Picture, Pictures
from exporters.xml_text import element, plain, write_xml

UNSPLIT = "train"
BACKGROUND = "background"
MOST = COLOURS - 2  # 0 is nothing, 255 says nothing of its pixel
TOO_MANY = f"mask beyond the {MOST} of a picture"
TOO_MANY_CLASSES = f"class of a mask, beyond {MOST} classes"


class Voc(Exporter):
    """Boxes and masks."""

    layered = True
    promised_iou = 1.0
    loading = """
from xml.etree import ElementTree

names = open("ImageSets/Main/train.txt").read().split()
objects = ElementTree.parse(f"Annotations/{names[0]}.xml").findall("object")
"""

    layout = Layout(
        folder="JPEGImages",
        still="{item}",
        frame="{item}_{number:06d}",
        portable=True,
        suffix=".jpg",
    )

    def __init__(self) -> None:
        """It has no options."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write an xml and two PNGs for each picture; memory does not grow with the run."""
        not_held: Counter[str] = Counter()
        classes = pictures.classes.names
        names = told_apart(classes, _plain)
        (folder / "Annotations").mkdir()
        (folder / "labelmap.txt").write_text(_labelmap(names), encoding="utf-8", newline="\n")
        with ExitStack() as stack:
            lists = {name: _lists(folder, name or UNSPLIT, stack) for name in pictures.sets}
            for picture in pictures:
                stem = PurePosixPath(picture.name).stem
                for listed in lists[picture.split]:
                    print(stem, file=listed)
                write_xml(folder / "Annotations" / f"{stem}.xml", _xml(picture, names, classes))
                _paint(folder, stem, picture, len(names), not_held)
        return +not_held


def _lists(folder: Path, split: str, stack: ExitStack) -> list[IO[str]]:
    opened: list[IO[str]] = []
    for task in ("Main", "Segmentation"):
        target = folder / "ImageSets" / task / f"{split}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        opened.append(stack.enter_context(target.open("w", encoding="ascii", newline="\n")))
    return opened


def _xml(picture: Picture, names: list[str], classes: list[str]) -> ElementTree.Element:
    record = picture.record
    root = ElementTree.Element("annotation")
    element(root, "folder", "JPEGImages")
    element(root, "filename", picture.name)
    element(element(root, "source"), "database", picture.source)
    size = element(root, "size")
    for name, value in (("width", record.width), ("height", record.height), ("depth", 3)):
        element(size, name, value)
    element(root, "segmented", int(bool(picture.instances)))
    for instance in picture.instances:
        name, called = names[instance.class_id], classes[instance.class_id]
        _object(root, instance, name, {} if called == name else {"class": called})
    return root


def _object(
    root: ElementTree.Element, instance: Instance, name: str, more: Mapping[str, str]
) -> None:
    made = element(root, "object")
    element(made, "name", name)
    element(made, "pose", "Unspecified")
    for unknown in ("truncated", "difficult", "occluded"):
        element(made, unknown, 0)
    box = element(made, "bndbox")
    x0, y0, x1, y1 = (round(v) for v in instance.box_xyxy)
    for corner, value in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
        element(box, corner, value)
    attributes = element(made, "attributes")
    for key, value in {**said_of(instance), **more}.items():
        attribute = element(attributes, "attribute")
        element(attribute, "name", key)
        element(attribute, "value", value)


def _paint(folder: Path, stem: str, picture: Picture, classes: int, not_held: Counter[str]) -> None:
    held = picture.instances[:MOST]
    not_held[TOO_MANY] += len(picture.instances) - len(held)
    size_hw = picture.record.height, picture.record.width
    layers = Layers(held, size_hw, not_held, HIDDEN_MASK)
    write_indexed(folder / "SegmentationObject" / f"{stem}.png", layers.plane)
    if classes <= MOST:
        of_class = layers.painted([i.class_id + 1 for i in held])
        write_indexed(folder / "SegmentationClass" / f"{stem}.png", of_class)
    else:
        not_held[TOO_MANY_CLASSES] += len(held)


def _plain(name: str) -> str:
    """What `labelmap.txt` can hold, in which a colon ends a name and a hash begins a remark."""
    return re.sub(r"^#|:", "_", plain(name))


def _labelmap(names: list[str]) -> str:
    """`name:colour:parts:actions` a line."""
    nothing = BACKGROUND
    while nothing in names:  # readers want one, told by its colour
        nothing += "_"
    lines = ["# label:color_rgb:parts:actions", f"{nothing}:0,0,0::"]
    for i, name in enumerate(names, start=1):
        r, g, b = PALETTE[i % COLOURS] if i <= MOST else (i & 255, i >> 8 & 255, 255)
        lines.append(f"{name}:{r},{g},{b}::")
    return "\n".join(lines) + "\n"
