"""MOTS: `frame id class height width run-lengths`; class 10 is not judged."""

from __future__ import annotations

from pathlib import Path

from annotate.discover.labels.contents import Contents
from annotate.discover.labels.sequences import Sequence, first_line, read_with

NOT_JUDGED = 10
NAMES = {1: "car", 2: "pedestrian"}  # of the challenge


def is_one(path: Path) -> bool:
    """Whether a folder holds sequences of masks."""
    return path.is_dir() and len(first_line(path).split(" ")) == 6


def read(path: Path) -> Contents:
    """Regions that are not judged are left out."""
    return read_with(path, _add)


def _add(contents: Contents, sequence: Sequence, line: str, images: dict[int, int]) -> None:
    frame, track, number, height, width, counts = line.split(" ")
    if int(number) == NOT_JUDGED:
        contents.left_out["regions that are not judged left out"] += 1
        return
    names = sequence.labels or NAMES
    name = names.get(int(number), f"class {number}")
    mask = {"size": [int(height), int(width)], "counts": counts}
    contents.add(images[int(frame)], name, segmentation=mask, track_id=int(track))
