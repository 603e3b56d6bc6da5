"""KITTI objects: `label_2/<name>.txt`, a line a box; our `classes.csv` says what a type is."""

from __future__ import annotations

import csv
from pathlib import Path

from annotate.discover.labels.contents import Contents, picture_name, picture_size

DONT_CARE = "DontCare"  # regions that are not judged
COLUMNS = 15  # a 16th is the score


def is_one(path: Path) -> bool:
    """Whether a folder, or one below it, has `label_2/`."""
    return path.is_dir() and any(_files(path))


def _files(path: Path) -> list[Path]:
    return sorted([*path.glob("label_2/*.txt"), *path.glob("*/label_2/*.txt")])


def read(path: Path) -> Contents:
    """Types are classes, but for regions that are not judged."""
    names = _names(path)
    contents = Contents(path, names.values())
    for file in _files(path):
        pictures = file.parent.parent / "image_2"
        below = pictures.relative_to(path).as_posix()
        name = f"{below}/{picture_name(pictures, file.stem, '.png')}"
        image = contents.image(name, picture_size(pictures, file.stem))
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            if len(words) < COLUMNS:
                raise ValueError(f"{file.name}:{number}: {len(words)} words, expected {COLUMNS}")
            if words[0] == DONT_CARE:
                contents.left_out["regions that are not judged left out"] += 1
                continue
            score = float(words[COLUMNS]) if len(words) > COLUMNS else None
            box = [float(v) for v in words[4:8]]
            contents.add(image, names.get(words[0], words[0]), box_xyxy=box, score=score)
    return contents


def _names(path: Path) -> dict[str, str]:
    table = path / "classes.csv"
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row["type"]: row["class"] for row in csv.DictReader(file)}
