"""LabelMe: a json beside each picture, of shapes; those of one `group_id` are one object."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from annotate.data import geometry
from annotate.discover.labels.contents import Contents, Entry, is_of_video, mask_of

ENCLOSING = ("polygon", "rectangle", "mask")


def is_one(path: Path) -> bool:
    """Whether the first json of a folder, or below it, has shapes."""
    first = next(path.rglob("*.json"), None) if path.is_dir() else None
    try:
        said = json.loads(first.read_text(encoding="utf-8-sig")) if first is not None else None
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and "shapes" in said


def read(path: Path) -> Contents:
    """Every json below a folder; shapes that enclose nothing are left out, and counted."""
    names = path / "labels.txt"
    listed = names.read_text(encoding="utf-8-sig").splitlines() if names.is_file() else []
    contents = Contents(path, [n for n in listed if n and not n.startswith("__")])
    for file in sorted(path.rglob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        below = file.parent.relative_to(path).as_posix()
        picture = str(document["imagePath"]).replace("\\", "/").rpartition("/")[2]
        name = picture if below == "." else f"{below}/{picture}"
        size_hw = int(document["imageHeight"]), int(document["imageWidth"])
        image = contents.image(name, size_hw)
        is_video = is_of_video(contents.frame_ids.get(name, ""))
        for shapes in _objects(document["shapes"], contents):
            first = shapes[0]
            contents.add(
                image,
                str(first["label"]),
                box_xyxy=_corners(first) if first["shape_type"] == "rectangle" else None,
                segmentation=_segmentation(shapes, size_hw),
                track_id=first["group_id"] if is_video else None,
                score=first.get("score"),
            )
    return contents


def _objects(shapes: list[Entry], contents: Contents) -> list[list[Entry]]:
    """Shapes that enclose something, those of one group and label together."""
    grouped: dict[Any, list[Entry]] = {}
    for number, shape in enumerate(shapes):
        kind = shape.get("shape_type", "polygon")
        if kind not in ENCLOSING or (kind == "polygon" and len(shape["points"]) < 3):
            contents.left_out[f"{kind} shapes left out"] += 1
            continue
        group = shape.get("group_id")
        key = ("alone", number) if group is None else (group, shape["label"], kind)
        grouped.setdefault(key, []).append(shape | {"shape_type": kind})
    return list(grouped.values())


def _corners(shape: Entry) -> list[float]:
    points = np.array(shape["points"], float)
    return [*points.min(0).tolist(), *points.max(0).tolist()]


def _segmentation(shapes: list[Entry], size_hw: tuple[int, int]) -> Any:
    kind = shapes[0]["shape_type"]
    if kind == "rectangle":
        return None
    if kind == "polygon":
        return [np.array(shape["points"], float).ravel().tolist() for shape in shapes]
    x, y, *_ = (int(v) for v in _corners(shapes[0]))
    with PilImage.open(BytesIO(base64.b64decode(shapes[0]["mask"]))) as picture:
        if picture.width * picture.height > geometry.MOST_PIXELS:
            raise ValueError(f"no mask is {picture.width}x{picture.height}")
        part = np.asarray(picture) > 0
    return mask_of(part, size_hw, (x, y))
