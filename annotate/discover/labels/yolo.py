"""YOLO: a text file a picture, a line an object, coordinates as shares of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from annotate.discover.labels.contents import Contents, picture_name, picture_size

NAMES = ("classes.txt", "obj.names")
BESIDE = 1.5  # pictures from the picture's edge, beyond which no coordinate is one


def is_one(path: Path) -> bool:
    """Whether a folder has the layout of Ultralytics."""
    return (path / "labels").is_dir() and any((path / "labels").rglob("*.txt"))


def read(path: Path) -> Contents:
    """Labels in `labels/` of the pictures in `images/`, which tell their size."""
    names = class_names(path)
    contents = Contents(path, names.values())
    for file in label_files(path / "labels"):
        stem = file.relative_to(path / "labels").with_suffix("").as_posix()
        size_hw = picture_size(path / "images", stem)
        if size_hw is None:
            raise ValueError(f"images/{stem}.*: no such picture, whose size labels are shares of")
        image = contents.image(picture_name(path / "images", stem), size_hw)
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
            if line.strip():
                where = f"{file.name}:{number}"
                class_id, points, is_box, score = row(line.split(), size_hw, where)
                if class_id not in names:
                    raise ValueError(f"{where}: class {class_id}, and names has no such")
                box = [*points.min(0), *points.max(0)]
                contents.add(
                    image,
                    names[class_id],
                    box_xyxy=box if is_box else None,
                    segmentation=None if is_box else [points.ravel().tolist()],
                    score=score,
                )
    return contents


def label_files(folder: Path) -> list[Path]:
    """The files of labels below a folder; a folder may be called so as well."""
    found = sorted(folder.rglob("*.txt"))
    return [path for path in found if path.name not in NAMES and path.is_file()]


def row(
    words: list[str], size_hw: tuple[int, int], where: str
) -> tuple[int, np.ndarray[Any, np.dtype[np.float64]], bool, float | None]:
    """`class x y w h [score]`, or `class x y x y x y ... [score]`, shares of the picture.

    Class, corners (n, 2) px, whether they are the two of a box, and score. ValueError.
    """
    try:
        class_id, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"{where}: {' '.join(words)[:60]!r} is no line of numbers") from error
    # Boxes have 4 numbers, outlines an even one of them from 6 on; a score comes after these.
    is_box = len(values) in (4, 5)
    score = values.pop() if len(values) % 2 else None
    shares = np.array(values).reshape(-1, 2)
    if len(shares) < 2 or not (np.abs(shares - 0.5) <= BESIDE).all():
        raise ValueError(f"{where}: neither a box nor an outline, in shares of the picture")
    h, w = size_hw
    points = shares * [w, h]
    if is_box:
        points = np.stack([points[0] - points[1] / 2, points[0] + points[1] / 2])
    return class_id, points, is_box, score


def class_names(folder: Path) -> dict[int, str]:
    """From the data.yaml or the list that lies in the folder, or above it. ValueError."""
    for place in (folder, folder.parent):
        for path in (*sorted(place.glob("*.yaml")), *sorted(place.glob("*.yml"))):
            if names := _of_yaml(path):
                return names
        for path in (place / name for name in NAMES):
            if path.is_file():
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise ValueError(
        "no names of its classes, neither in a data.yaml with `names:` nor in "
        f"{' or '.join(NAMES)}, there or in the folder above"
    )


def _of_yaml(path: Path) -> dict[int, str]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}  # anybody's file
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(n, int) for n in names):
        return {}
    return {number: str(name) for number, name in names.items()}
