"""What labels say, gathered as the content of a COCO json."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from annotate.data import geometry

Entry = dict[str, Any]
Mask = dict[str, Any]  # COCO's compressed run lengths, `size` and `counts`
PICTURES = "pictures.jsonl"  # of our exports: the frame that each picture is
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SUFFIXES = (*_SUFFIXES, *map(str.upper, _SUFFIXES))


class Contents:
    """Classes, pictures and objects of a folder of labels."""

    def __init__(self, folder: Path, names: Iterable[str] = ()) -> None:
        """`names` are its classes as far as it lists them, in their order."""
        self.folder = folder
        self.images: list[Entry] = []
        self.annotations: list[Entry] = []
        self.left_out: Counter[str] = Counter()  # what is no object, by what it is
        self._classes: dict[str, int] = {}
        self.frame_ids = frames_of(folder)  # by the name of a picture in the folder
        for name in names:
            self.class_id(name)

    @property
    def content(self) -> Entry:
        """As a COCO json has it."""
        categories = [{"id": i, "name": name} for name, i in self._classes.items()]
        return {
            "categories": categories,
            "images": self.images,
            "annotations": self.annotations,
        }

    def class_id(self, name: str) -> int:
        """The category of a class, which is new if it was not met."""
        return self._classes.setdefault(name, len(self._classes) + 1)

    def image(self, name: str, size_hw: tuple[int, int] | None = None, **more: Any) -> int:
        """Add a picture by its name in the folder, and its size if it is known; its id."""
        image: Entry = {"id": len(self.images) + 1, "file_name": name, **more}
        if size_hw is not None:
            image |= {"height": size_hw[0], "width": size_hw[1]}
        if frame_id := self.frame_ids.get(name):
            image["frame_id"] = frame_id
        self.images.append(image)
        return len(self.images)

    def add(
        self,
        image: int,
        name: str,
        *,
        box_xyxy: Sequence[float] | None = None,
        segmentation: Mask | list[list[float]] | None = None,
        track_id: int | None = None,
        score: float | None = None,
    ) -> None:
        """Add an object of a picture; at least a box in px, or a mask."""
        entry: Entry = {"image_id": image, "category_id": self.class_id(name), "iscrowd": 0}
        if box_xyxy is not None:
            x0, y0, x1, y1 = (float(v) for v in box_xyxy)
            entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        said = {"segmentation": segmentation, "track_id": track_id or None, "score": score}
        self.annotations.append(entry | {k: v for k, v in said.items() if v is not None})


def is_of_video(frame_id: str) -> bool:
    """Whether this is how a frame of a video is called: `clip.mp4#000123`."""
    return re.search(r"#\d{6,}$", frame_id) is not None


def frames_of(folder: Path) -> dict[str, str]:
    """The frame of the dataset that each picture of an export of ours is, by its name there."""
    table = folder / PICTURES
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return {row["picture"]: row["frame_id"] for row in rows}


def mask_of(
    part_hw: npt.NDArray[np.bool_], size_hw: tuple[int, int], at_xy: tuple[int, int]
) -> Mask:
    """A part of a picture as the mask of it; ValueError where it leaves the picture."""
    (h, w), (height, width), (x, y) = part_hw.shape, size_hw, at_xy
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise ValueError(f"a mask of {w}x{h} px at {x},{y} leaves its picture of {width}x{height}")
    return {"size": [height, width], "counts": geometry.encode_crop(part_hw, at_xy, size_hw)}


def masks_in(plane_hw: npt.NDArray[Any], numbers: Iterable[int]) -> dict[int, Mask]:
    """The masks of the numbers that stand in a picture of numbers, as far as they do."""
    size_hw = (plane_hw.shape[0], plane_hw.shape[1])
    masks = {}
    for number in numbers:
        inside = plane_hw == number
        if inside.any():
            masks[number] = mask_of(inside, size_hw, (0, 0))
    return masks


def picture_size(folder: Path, stem: str) -> tuple[int, int] | None:
    """Height and width of the picture of a name without its suffix; None where there is none."""
    for suffix in SUFFIXES:
        if (path := folder / f"{stem}{suffix}").is_file():
            with PilImage.open(path) as picture:
                return picture.height, picture.width
    return None


def picture_name(folder: Path, stem: str, otherwise: str = ".jpg") -> str:
    """The name of a picture by its stem, with the suffix that it has in a folder."""
    there = (suffix for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file())
    return stem + next(there, otherwise)
