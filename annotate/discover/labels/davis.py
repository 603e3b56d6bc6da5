"""DAVIS: PNGs whose pixels are numbers of objects; our `objects.csv` says of what class."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from annotate.discover.labels.contents import Contents, masks_in, picture_name

NAMELESS = "object"  # the class of all where nothing says which
NOTHING_KNOWN = 255  # of a pixel, where there are fewer objects


def is_one(path: Path) -> bool:
    """Whether a folder is one of DAVIS."""
    return (path / "Annotations").is_dir() and any((path / "ImageSets").glob("201*"))


def read(path: Path) -> Contents:
    """Every size of `Annotations/`, of which there is one."""
    objects = _objects(path)
    contents = Contents(path, dict.fromkeys(name for _, name in objects.values()))
    places = sorted(p for p in (path / "Annotations").iterdir() if p.is_dir())
    if not places:
        raise ValueError("no folder below Annotations/")
    for file in sorted(places[-1].rglob("*.png")):
        video = file.parent.relative_to(places[-1]).as_posix()
        with PilImage.open(file) as picture:
            plane = np.asarray(picture)
        if plane.ndim != 2:
            raise ValueError(f"{file.name} of {video} is no picture of indexed colour")
        pictures = path / "JPEGImages" / places[-1].name
        name = picture_name(pictures, f"{video}/{file.stem}")
        image = contents.image(name, plane.shape)
        numbers = [int(n) for n in np.unique(plane) if n]
        if objects:
            numbers = [n for n in numbers if (video, n) in objects]
        elif NOTHING_KNOWN in numbers:
            numbers.remove(NOTHING_KNOWN)
        for number, mask in masks_in(plane, numbers).items():
            track_id, label = objects.get((video, number), (number, NAMELESS))
            contents.add(image, label, segmentation=mask, track_id=track_id)
    return contents


def _objects(path: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """Track and class by video and number."""
    table = path / "objects.csv"
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {
            (row["video"], int(row["object"])): (int(row["track_id"]), row["class"])
            for row in csv.DictReader(file)
        }
