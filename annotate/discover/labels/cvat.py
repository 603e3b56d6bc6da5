"""CVAT 1.1: an xml of images or of a video; of our exports, one more in the folder of each video.

Shapes that enclose nothing are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from annotate.data import geometry
from annotate.discover.labels.contents import Contents, Mask, mask_of
from annotate.store.remote import is_url, read_text

SHAPES = ("box", "polygon", "mask", "polyline", "points", "cuboid", "ellipse", "skeleton", "tag")
OURS = "images/"  # in which an export of ours has its stills


def is_one(path: Path) -> bool:
    """Whether it is an xml, or a folder of those."""
    return path.suffix.lower() == ".xml" or any(files(path))


def files(path: Path) -> Iterator[Path]:
    """The xml files of a folder."""
    if (path / "annotations.xml").is_file():
        yield path / "annotations.xml"
    yield from sorted(path.glob("videos/**/annotations.xml"))


def read(path: Path | str) -> Contents:
    """An xml, here or on a store, or a folder of those."""
    is_folder = not is_url(path) and Path(path).is_dir()
    contents = Contents(Path(path) if is_folder else Path(path).parent)
    for file in files(Path(path)) if is_folder else [path]:
        root = ElementTree.fromstring(read_text(str(file))) if is_url(file) else _parsed(Path(file))
        if root.tag != "annotations":
            raise ValueError(f"its root is <{root.tag}>, not <annotations>")
        for label in root.iterfind(".//meta//label"):
            if name := label.findtext("name", ""):
                contents.class_id(name)
        start = f"{Path(file).parent.relative_to(path).as_posix()}/" if is_folder else ""
        _Xml(contents, "" if start == "./" else start).read(root)
    return contents


class _Xml:
    """One file; `start` is the folder of an export that it lies in."""

    def __init__(self, contents: Contents, start: str) -> None:
        self._contents, self._start = contents, start

    def read(self, root: ElementTree.Element) -> None:
        names: set[str] = set()
        for image in root.iterfind("image"):
            size = _size(image.attrib["height"], image.attrib["width"])
            name = image.attrib["name"]
            if name in names:
                raise ValueError(f"the image {name!r} stands twice")
            names.add(name)
            ours = self._start + OURS + name
            known = ours if ours in self._contents.frame_ids else name
            number = self._contents.image(known, size)
            for shape in image:
                self._add(number, shape, shape.attrib.get("label", ""), size)
        if tracks := root.findall("track"):
            self._read_video(root, tracks)

    def _read_video(self, root: ElementTree.Element, tracks: list[ElementTree.Element]) -> None:
        """Tracks of a video: CVAT writes the shape of every frame, those between as well."""
        video = root.findtext("meta//source") or root.findtext("meta/task/name") or ""
        size_of = root.find("meta//original_size")
        size = None
        if size_of is not None:
            size = _size(size_of.findtext("height", "0"), size_of.findtext("width", "0"))
        frames: dict[int, int] = {}

        def image(frame: int) -> int:
            if frame not in frames:
                names = (f"{self._start}images/frame_{frame:06d}{s}" for s in (".jpg", ".png"))
                ours = next((n for n in names if n in self._contents.frame_ids), None)
                frame_id = f"{video}#{frame:06d}"
                said = {} if ours else {"frame_id": frame_id}
                frames[frame] = self._contents.image(ours or frame_id, size, **said)
            return frames[frame]

        for frame in range(int(root.findtext("meta/task/size", "0")) if self._start else 0):
            image(frame)  # those without an object as well
        for track in tracks:
            label = track.attrib["label"]
            number = int(track.attrib.get("id", 0)) + (0 if self._contents.frame_ids else 1)
            self._contents.class_id(label)
            for shape in track:
                at = image(int(shape.attrib["frame"]))
                if shape.attrib.get("outside", "0") != "1":
                    self._add(at, shape, label, size, track_id=number)

    def _add(
        self,
        image: int,
        shape: ElementTree.Element,
        label: str,
        size: tuple[int, int] | None,
        track_id: int | None = None,
    ) -> None:
        said = shape.attrib
        score = next(
            (float(a.text) for a in shape.iterfind("attribute") if _is_score(a) and a.text), None
        )
        more: dict[str, Any] = {"track_id": track_id, "score": score}
        contents = self._contents
        match shape.tag:
            case "box":
                x0, y0, x1, y1 = (float(said[k]) for k in ("xtl", "ytl", "xbr", "ybr"))
                box = _upright(x0, y0, x1, y1, float(said.get("rotation", 0)))
                contents.add(image, label, box_xyxy=box, **more)
            case "polygon" if size is not None:
                points = np.array([p.split(",") for p in said["points"].split(";")], float)
                if len(points) < 3:
                    raise ValueError(f"a polygon of {len(points)} points")
                box = [*points.min(0).tolist(), *points.max(0).tolist()]
                ring = points.ravel().tolist()
                contents.add(image, label, box_xyxy=box, segmentation=[ring], **more)
            case "mask" if size is not None:
                if (mask := self._mask(shape, size)) is not None:
                    contents.add(image, label, segmentation=mask, **more)
            case tag if tag in SHAPES:
                contents.left_out[f"{tag} shapes left out"] += 1
            case _:  # attributes and the like
                pass

    def _mask(self, shape: ElementTree.Element, size: tuple[int, int]) -> Mask | None:
        """Run lengths, row by row from nothing on, of the part of the picture that it names."""
        left, top, w, h = (int(float(shape.attrib[k])) for k in ("left", "top", "width", "height"))
        lengths = [int(n) for n in shape.attrib["rle"].replace(",", " ").split()]
        inside = left >= 0 and top >= 0 and left + w <= size[1] and top + h <= size[0]
        if min(lengths, default=0) < 0 or sum(lengths) != w * h or not inside:
            raise ValueError(f"a mask of {w}x{h} px at {left},{top} with {sum(lengths)} px of runs")
        values = np.arange(len(lengths)) % 2 == 1
        part = np.repeat(values, lengths).reshape(h, w)
        if not part.any():
            self._contents.left_out["empty masks left out"] += 1
            return None
        return mask_of(part, size, (left, top))


def _is_score(attribute: ElementTree.Element) -> bool:
    return attribute.attrib.get("name") == "score"


def _size(height: str, width: str) -> tuple[int, int]:
    """Of a picture, px. ValueError: of none."""
    size = int(height), int(width)
    if min(size) < 1 or size[0] * size[1] > geometry.MOST_PIXELS:
        raise ValueError(f"no picture is {width}x{height}")
    return size


def _parsed(source: Path) -> ElementTree.Element:
    with source.expanduser().open("rb") as stream:
        return ElementTree.parse(stream).getroot()


def _upright(x0: float, y0: float, x1: float, y1: float, turned: float) -> list[float]:
    """The upright box around one that is turned about its centre, degrees."""
    if not turned:
        return [x0, y0, x1, y1]
    angle = np.deg2rad(turned)
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    w, h = x1 - x0, y1 - y0
    half = np.array([w * cos + h * sin, w * sin + h * cos]) / 2
    centre = np.array([x0 + x1, y0 + y1]) / 2
    return [*(centre - half).tolist(), *(centre + half).tolist()]
