"""Boxes and outlines of a YOLO folder: a text file a picture, coordinates as shares of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from annotate.data.types import Frame, Rle
from annotate.errors import ConfigError, MediaError, one_line
from annotate.ground.boxes.labelled import NOTHING, Labelled, made, polygon
from annotate.ground.boxes.naming import names_of

KEY = "ground.file"
NAMES = ("classes.txt", "obj.names")
BESIDE = 1.5  # pictures from the picture's edge, beyond which no coordinate is one


class YoloLabels:
    """Label files below a folder, read when their picture comes; one without has no objects."""

    may_lack = True

    def __init__(self, folder: Path, below: str | None) -> None:
        """Raises ConfigError where the folder has no labels, or no names of classes."""
        self._folder, self._below = folder, below
        by_id = _class_names(folder)
        self._by_id, self.names = by_id, tuple(by_id.values())
        self.has_scores = True
        self.left_out: Mapping[str, int] = {}
        self.remarks = ()
        files = [p for p in sorted(folder.rglob("*.txt")) if p.name not in NAMES]
        if not files:
            raise ConfigError(f"{KEY}={folder}: no .txt labels below it")
        whole = hashlib.sha256(repr(sorted(by_id.items())).encode())
        for path in files:
            whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        self.sha256 = whole.hexdigest()
        self.example = files[0].relative_to(folder).as_posix()

    def of(self, frame: Frame) -> Labelled | None:
        """See Labels."""
        path = next((p for p in self._places(frame) if p.is_file()), None)
        if path is None:
            return None
        return self._read(path, frame.size_hw)

    def _places(self, frame: Frame) -> Iterator[Path]:
        """Where the labels of a frame may be: as its name, and with `labels` for `images`."""
        for name in names_of(frame, self._below):
            label = PurePosixPath(name).with_suffix(".txt")
            parts = label.parts
            yield self._folder / label
            yield self._folder / "labels" / label
            if "images" in parts:
                at = len(parts) - 1 - parts[::-1].index("images")
                yield self._folder.joinpath(*parts[:at], "labels", *parts[at + 1 :])
                yield self._folder.joinpath(*parts[at + 1 :])
            if frame.item.media == "image" and name == frame.item.name:
                continue
            break  # longer ends of a path begin above the folder

    def _read(self, path: Path, size_hw: tuple[int, int]) -> Labelled:
        rows = []
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise MediaError(f"{path}: cannot be read ({one_line(error)})") from error
        for n, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(self._row(line.split(), size_hw, f"{path}:{n}"))
        return made(rows, None, str(path)) if rows else NOTHING

    def _row(
        self, words: list[str], size_hw: tuple[int, int], where: str
    ) -> tuple[list[float], float | None, str, Rle | None]:
        """`class x y w h [score]`, or `class x y x y x y ... [score]`, shares of the picture."""
        try:
            class_id, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise MediaError(f"{where}: {' '.join(words)[:60]!r} is no line of numbers") from error
        if class_id not in self._by_id:
            raise MediaError(f"{where}: class {class_id}, and names has no such")
        # Boxes have 4 numbers, outlines an even one of them from 6 on; a score comes after these.
        is_box = len(values) in (4, 5)
        score = values.pop() if len(values) % 2 else None
        shares = np.array(values).reshape(-1, 2)
        if len(shares) < 2 or not (np.abs(shares - 0.5) <= BESIDE).all():
            raise MediaError(f"{where}: neither a box nor an outline, in shares of the picture")
        h, w = size_hw
        points = shares * [w, h]
        if is_box:
            low, high = points[0] - points[1] / 2, points[0] + points[1] / 2
            return [*low, *high], score, self._by_id[class_id], None
        mask = polygon(points, size_hw)
        return [*points.min(0), *points.max(0)], score, self._by_id[class_id], mask


def _class_names(folder: Path) -> dict[int, str]:
    """From the data.yaml or the list that lies in the folder, or above it."""
    for place in (folder, folder.parent):
        for path in (*sorted(place.glob("*.yaml")), *sorted(place.glob("*.yml"))):
            if names := _of_yaml(path):
                return names
        for path in (place / name for name in NAMES):
            if path.is_file():
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise ConfigError(
        f"{KEY}={folder}: no names of its classes, neither in a data.yaml with `names:` nor in "
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
