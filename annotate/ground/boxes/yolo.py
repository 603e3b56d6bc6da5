"""Boxes and outlines of a YOLO folder: a text file a picture, coordinates as shares of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from annotate.data.types import Frame, Rle
from annotate.discover.labels.contents import frames_of
from annotate.discover.labels.yolo import class_names, label_files, row
from annotate.errors import ConfigError, MediaError, one_line
from annotate.ground.boxes.labelled import NOTHING, Labelled, made, polygon
from annotate.ground.boxes.naming import names_of

KEY = "ground.file"


class YoloLabels:
    """Label files below a folder, read when their picture comes; one without has no objects."""

    may_lack = True

    def __init__(self, folder: Path, below: str | None) -> None:
        """Raises ConfigError where the folder has no labels, or no names of classes."""
        self._folder, self._below = folder, below
        try:
            by_id = class_names(folder)
        except ValueError as error:
            raise ConfigError(f"{KEY}={folder}: {error}") from error
        # In exports of ours pictures have names of their own.
        self._pictures = {frame_id: name for name, frame_id in frames_of(folder).items()}
        self._by_id, self.names = by_id, tuple(by_id.values())
        self.has_scores = True
        self.left_out: Mapping[str, int] = {}
        self.remarks = ()
        files = label_files(folder)
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
        if ours := self._pictures.get(frame.frame_id):
            yield self._folder / "labels" / PurePosixPath(ours).with_suffix(".txt")
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
        """Box, score, class and mask of a line."""
        try:
            class_id, points, is_box, score = row(words, size_hw, where)
        except ValueError as error:
            raise MediaError(str(error)) from error
        if class_id not in self._by_id:
            raise MediaError(f"{where}: class {class_id}, and names has no such")
        mask = None if is_box else polygon(points, size_hw)
        return [*points.min(0), *points.max(0)], score, self._by_id[class_id], mask
