"""Boxes, instance masks and polylines of a dataset that FiftyOne exported as FiftyOneDataset."""

from __future__ import annotations

import base64
import io
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from annotate.data import geometry
from annotate.data.types import Frame, Rle
from annotate.errors import ConfigError, MediaError, one_line
from annotate.ground.boxes.labelled import Labelled, digest, made
from annotate.ground.boxes.naming import Entries
from annotate.store.json_file import read_json

KEY = "ground.file"
HEADER_BYTES = 4096  # of an array, at most


class FiftyOneLabels:
    """The detections of one field, by sample. What else a sample holds is not looked at."""

    may_lack = False

    def __init__(self, folder: Path, field: str | None, below: str | None) -> None:
        """`field`: the one of detections; may be None where there is one alone. ConfigError."""
        path = folder / "samples.json"
        content = read_json(path, what=f"{KEY}={path}: not the samples of FiftyOne")
        samples = content.get("samples")
        if not isinstance(samples, list) or not all(isinstance(s, dict) for s in samples):
            raise ConfigError(f"{KEY}={path}: not the samples of FiftyOne (no list of samples)")
        self.sha256 = digest(str(path))
        self.remarks = ()
        self.left_out: Counter[str] = Counter()
        self._folder, self._below = folder, below
        fields = Counter(key for s in samples for key, value in s.items() if _is_detections(value))
        if field is None and len(fields) != 1:
            raise ConfigError(
                f"{KEY}={folder}: ground.field=NAME must say which field is meant; of detections "
                f"there are {', '.join(sorted(fields)) or 'none'}"
            )
        field = field or next(iter(fields))
        if field not in fields:
            raise ConfigError(
                f"ground.field={field}: no field of detections in {folder}; there are "
                f"{', '.join(sorted(fields)) or 'none'}"
            )
        self._entries: Entries[list[dict[str, Any]]] = Entries()
        names: dict[str, None] = {}
        self.has_scores = False
        for n, sample in enumerate(samples):
            found = (sample.get(field) or {}).get("detections") or []
            if not isinstance(sample.get("filepath"), str):
                raise ConfigError(f"{KEY}={path}: samples[{n}] has no filepath")
            self._entries.add(sample["filepath"], found)
            # An export keeps its pictures in data/.
            self._entries.add(sample["filepath"].removeprefix("data/"), found)
            names |= dict.fromkeys(str(d.get("label")) for d in found)
            self.has_scores |= any(d.get("confidence") is not None for d in found)
        self.names = tuple(names)

    @property
    def example(self) -> str:
        return self._entries.example

    def of(self, frame: Frame) -> Labelled | None:
        """See Labels."""
        found = self._entries.find(frame, self._below)
        if found is None:
            return None
        try:
            rows = [self._row(detection, frame.size_hw) for detection in found]
        except (KeyError, TypeError, ValueError, zlib.error, OSError, MemoryError) as error:
            raise MediaError(
                f"{self._folder}: a detection in {frame.frame_id} cannot be read "
                f"({one_line(error)})"
            ) from error
        return made(rows, None, f"{self._folder}: {frame.frame_id}")

    def _row(
        self, said: dict[str, Any], size_hw: tuple[int, int]
    ) -> tuple[list[float], float | None, str, Rle | None]:
        height, width = size_hw
        x, y, w, h = (float(v) for v in said["bounding_box"])
        box = [x * width, y * height, (x + w) * width, (y + h) * height]
        part = _mask(said, self._folder, 16 * height * width + HEADER_BYTES)
        mask = None if part is None else _in_picture(part, box, size_hw)
        return box, said.get("confidence"), str(said["label"]), mask


def _is_detections(value: Any) -> bool:
    return isinstance(value, dict) and value.get("_cls") == "Detections"


def _mask(said: dict[str, Any], folder: Path, most_bytes: int) -> Any:
    """The mask (h, w) of an object's box, which FiftyOne packs, or keeps as a picture."""
    packed = said.get("mask")
    if packed is not None:
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(base64.b64decode(packed["$binary"]["base64"]), most_bytes)
        if unpacking.unconsumed_tail:
            raise ValueError(f"its mask unpacks to more than {most_bytes:,} bytes")
        return np.load(io.BytesIO(raw), allow_pickle=False).astype(bool)
    if said.get("mask_path"):
        import cv2

        path = folder / said["mask_path"]
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise ValueError(f"{path} is no picture")
        return pixels > 0
    return None


def _in_picture(part: Any, box: list[float], size_hw: tuple[int, int]) -> Rle | None:
    """The mask of a box as one of the picture, as FiftyOne pastes it."""
    import cv2

    height, width = size_hw
    x0, y0, x1, y1 = (round(v) for v in box)
    w, h = max(1, x1 - x0), max(1, y1 - y0)
    if part.shape != (h, w):
        part = cv2.resize(part.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST) > 0
    left, top = max(x0, 0), max(y0, 0)
    seen = part[top - y0 : height - y0, left - x0 : width - x0]
    if not seen.any():
        return None
    return Rle(geometry.encode_crop(seen, (left, top), size_hw), size_hw)
