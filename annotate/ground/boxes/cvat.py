"""Boxes, polygons and masks of an xml of CVAT, for images or for video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from annotate.data import geometry
from annotate.data.types import Frame, Rle
from annotate.errors import ConfigError, MediaError, one_line
from annotate.ground.boxes.labelled import Labelled, digest, made, polygon
from annotate.ground.boxes.naming import Entries
from annotate.store.remote import is_url, read_text

KEY = "ground.file"
SHAPES = ("box", "polygon", "mask", "polyline", "points", "cuboid", "ellipse", "skeleton", "tag")
Row = tuple[list[float], float | None, str, Rle | None]


class CvatLabels:
    """Objects by picture. Shapes that enclose nothing are left out, and counted."""

    has_scores = False
    remarks = ()

    may_lack = False

    def __init__(self, source: str, below: str | None) -> None:
        """Raises ConfigError that names what is wrong with the file."""
        self._below = below
        self.left_out: Counter[str] = Counter()
        self._entries: Entries[Labelled] = Entries()
        try:
            self.sha256 = digest(source)
            root = ElementTree.fromstring(read_text(source)) if is_url(source) else _parsed(source)
            if root.tag != "annotations":
                raise ValueError(f"its root is <{root.tag}>, not <annotations>")
            names = [label.findtext("name", "") for label in root.iterfind(".//meta//label")]
            self.names = tuple(dict.fromkeys([*filter(None, names), *self._read(root)]))
        except (OSError, ValueError, KeyError, ElementTree.ParseError, MediaError) as error:
            raise ConfigError(f"{KEY}={source}: not an xml of CVAT ({one_line(error)})") from error

    @property
    def example(self) -> str:
        return self._entries.example

    def of(self, frame: Frame) -> Labelled | None:
        """See Labels."""
        return self._entries.find(frame, self._below)

    def _read(self, root: ElementTree.Element) -> Iterator[str]:
        """Every class that is met."""
        for image in root.iterfind("image"):
            size = _size(image.attrib["height"], image.attrib["width"])
            name = image.attrib["name"]
            rows = list(self._rows(image, size))
            yield from (label for _, _, label, _ in rows)
            if not self._entries.add(name, made(rows, size, name)):
                raise ValueError(f"the image {name!r} stands twice")
        tracks = root.findall("track")
        if tracks:
            yield from self._read_video(root, tracks)

    def _read_video(
        self, root: ElementTree.Element, tracks: list[ElementTree.Element]
    ) -> Iterator[str]:
        """Tracks of a video: CVAT writes the shape of every frame, those between as well."""
        video = root.findtext("meta//source") or root.findtext("meta/task/name") or ""
        size_of = root.find("meta//original_size")
        size = None
        if size_of is not None:
            size = _size(size_of.findtext("height", "0"), size_of.findtext("width", "0"))
        frames: dict[int, list[Row]] = {}
        for track in tracks:
            yield track.attrib["label"]
            for shape in track:
                frame = int(shape.attrib["frame"])
                rows = frames.setdefault(frame, [])
                if shape.attrib.get("outside", "0") == "1":
                    continue
                row = self._row(shape, track.attrib["label"], size)
                if row is not None:
                    rows.append(row)
        for frame, rows in frames.items():
            name = f"{video}#{frame:06d}"
            self._entries.add(name, made(rows, size, name))

    def _rows(self, image: ElementTree.Element, size: tuple[int, int]) -> Iterator[Row]:
        for shape in image:
            row = self._row(shape, shape.attrib.get("label", ""), size)
            if row is not None:
                yield row

    def _row(
        self, shape: ElementTree.Element, label: str, size: tuple[int, int] | None
    ) -> Row | None:
        said = shape.attrib
        match shape.tag:
            case "box":
                low_x, low_y, high_x, high_y = (
                    float(said[k]) for k in ("xtl", "ytl", "xbr", "ybr")
                )
                turned = float(said.get("rotation", 0))
                box = _upright(low_x, low_y, high_x, high_y, turned)
                return box, None, label, None
            case "polygon" if size is not None:
                corners = [p.split(",") for p in said["points"].split(";")]
                points = np.array(corners, float)
                if len(points) < 3:
                    raise ValueError(f"a polygon of {len(points)} points")
                box = [*points.min(0).tolist(), *points.max(0).tolist()]
                return box, None, label, polygon(points, size)
            case "mask" if size is not None:
                return self._mask(shape, label, size)
            case tag if tag in SHAPES:
                self.left_out[f"{tag} shapes left out"] += 1
                return None
            case _:  # attributes and the like
                return None

    def _mask(self, shape: ElementTree.Element, label: str, size: tuple[int, int]) -> Row | None:
        """Run lengths, row by row from nothing on, of the part of the picture that it names."""
        left, top, w, h = (int(float(shape.attrib[k])) for k in ("left", "top", "width", "height"))
        lengths = [int(n) for n in shape.attrib["rle"].replace(",", " ").split()]
        inside = left >= 0 and top >= 0 and left + w <= size[1] and top + h <= size[0]
        if min(lengths, default=0) < 0 or sum(lengths) != w * h or not inside:
            raise ValueError(f"a mask of {w}x{h} px at {left},{top} with {sum(lengths)} px of runs")
        values = np.arange(len(lengths)) % 2 == 1
        part = np.repeat(values, lengths).reshape(h, w)
        if not part.any():
            self.left_out["empty masks left out"] += 1
            return None
        mask = Rle(geometry.encode_crop(part, (left, top), size), size)
        (box,) = geometry.mask_boxes(part[None])
        x0, y0, x1, y1 = box.tolist()
        return [x0 + left, y0 + top, x1 + left, y1 + top], None, label, mask


def _size(height: str, width: str) -> tuple[int, int]:
    """Of a picture, px. ValueError: of none."""
    size = int(height), int(width)
    if min(size) < 1 or size[0] * size[1] > geometry.MOST_PIXELS:
        raise ValueError(f"no picture is {width}x{height}")
    return size


def _parsed(source: str) -> ElementTree.Element:
    with Path(source).expanduser().open("rb") as stream:
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
