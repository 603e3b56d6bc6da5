"""Pascal VOC: an xml for each picture; masks where `SegmentationObject/` numbers them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image as PilImage

from annotate.discover.labels.contents import Contents, masks_in


def is_one(path: Path) -> bool:
    """Whether a folder is one of VOC."""
    return (path / "Annotations").is_dir() and any((path / "Annotations").glob("*.xml"))


def read(path: Path) -> Contents:
    """Boxes count pixels from 1, and hold their last one."""
    contents = Contents(path)
    renamed: set[str] = set()  # by our exports, which then say the class beside
    for file in sorted((path / "Annotations").glob("*.xml")):
        root = ElementTree.parse(file).getroot()
        size = root.find("size")
        size_hw = None
        if size is not None:
            size_hw = int(size.findtext("height", "")), int(size.findtext("width", ""))
        name = root.findtext("filename") or f"{file.stem}.jpg"
        image = contents.image(name, size_hw)
        objects = root.findall("object")
        plane = path / "SegmentationObject" / f"{file.stem}.png"
        masks = {}
        if plane.is_file() and objects:
            with PilImage.open(plane) as picture:
                masks = masks_in(np.asarray(picture), range(1, len(objects) + 1))
        for number, found in enumerate(objects, start=1):
            said = {
                a.findtext("name", ""): a.findtext("value", "")
                for a in found.iterfind("attributes/attribute")
            }
            box = found.find("bndbox")
            if box is None:
                contents.left_out["objects without a box left out"] += 1
                continue
            low = [float(box.findtext(k, "")) - 1 for k in ("xmin", "ymin")]
            high = [float(box.findtext(k, "")) for k in ("xmax", "ymax")]
            label = found.findtext("name", "")
            if "class" in said:
                renamed.add(label)
            contents.add(
                image,
                said.get("class") or label,
                box_xyxy=[*low, *high],
                segmentation=masks.get(number),
                track_id=int(said["track_id"]) if said.get("track_id") else None,
                score=float(said["score"]) if said.get("score") else None,
            )
    for label in _names(path):
        if label not in renamed:
            contents.class_id(label)
    return contents


def _names(path: Path) -> list[str]:
    """Classes of a `labelmap.txt`, as Datumaro and CVAT write it."""
    labelmap = path / "labelmap.txt"
    if not labelmap.is_file():
        return []
    lines = labelmap.read_text(encoding="utf-8-sig").splitlines()
    rows = [line.split(":") for line in lines if line.strip() and not line.startswith("# label:")]
    return [row[0] for row in rows if row[1:2] != ["0,0,0"]]  # that is nothing
