"""MOTChallenge: `frame,id,left,top,width,height,confidence,class,visibility`, pixels from 1 on."""

from __future__ import annotations

from pathlib import Path

from annotate.discover.labels.contents import Contents
from annotate.discover.labels.sequences import Sequence, first_line, read_with

PEDESTRIAN = "pedestrian"  # class 1 of the challenge


def is_one(path: Path) -> bool:
    """Whether a folder holds sequences of boxes."""
    return path.is_dir() and "," in first_line(path)


def read(path: Path) -> Contents:
    """Lines of confidence 0 are not judged in the challenge, and are left out."""
    return read_with(path, _add)


def _add(contents: Contents, sequence: Sequence, line: str, images: dict[int, int]) -> None:
    words = line.split(",")
    frame, track = int(float(words[0])), int(float(words[1]))
    left, top, width, height = (float(v) for v in words[2:6])
    confidence = float(words[6]) if len(words) > 6 else 1.0
    if confidence == 0:
        contents.left_out["boxes of confidence 0 left out"] += 1
        return
    number = int(float(words[7])) if len(words) > 7 else 1
    name = sequence.labels.get(number, PEDESTRIAN if number == 1 else f"class {number}")
    box = (left - 1, top - 1, left - 1 + width, top - 1 + height)
    contents.add(images[frame], name, box_xyxy=box, track_id=track)
