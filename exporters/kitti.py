"""KITTI objects: `training/label_2/<name>.txt` beside `image_2/`, one folder for each set.

A line for each box, `type truncated occluded alpha x0 y0 x1 y1`, then size, place and turn in
space, of which nothing is known, and the score. Words are cut at blanks there: `classes.csv` says
which type is which class.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from annotate.data.names import told_apart
from exporters.base import Exporter
from exporters.layout import Layout
from exporters.pictures import Pictures

UNSPLIT = "training"
BEFORE = "-1 -1 -10"  # truncated, occluded, alpha: unknown, as KITTI writes it
AFTER = "-1 -1 -1 -1000 -1000 -1000 -10"  # height, width, length, x, y, z, turn: unknown


class Kitti(Exporter):
    """Boxes; there is no place for masks and tracks."""

    promised_iou = 1.0
    loading = """
import pathlib

for labels in sorted(pathlib.Path("training/label_2").glob("*.txt")):
    boxes = [line.split()[4:8] for line in labels.read_text().splitlines()]
"""

    layout = Layout(
        folder="",
        still="{split}/image_2/{item}",
        frame="{split}/image_2/{item}_{number:06d}",
        unsplit=UNSPLIT,
        portable=True,
    )

    def __init__(self) -> None:
        """It has no options."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a file for each picture; memory does not grow with the run."""
        not_held: Counter[str] = Counter()
        names = pictures.classes.names
        types = told_apart(names, _plain)
        with (folder / "classes.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("type", "class"), *zip(types, names, strict=True)]
            )
        for split in pictures.sets:
            (folder / split / "label_2").mkdir(parents=True)
            (folder / split / "image_2").mkdir(exist_ok=True)
        for picture in pictures:
            stem = PurePosixPath(picture.name).stem
            target = folder / (picture.split or UNSPLIT) / "label_2" / f"{stem}.txt"
            with target.open("w", encoding="utf-8", newline="\n") as labels:
                for i in picture.instances:
                    box = " ".join(f"{v:.2f}" for v in i.box_xyxy)
                    print(types[i.class_id], BEFORE, box, AFTER, f"{i.score:.4f}", file=labels)
            not_held["mask"] += len(picture.instances)
            not_held["track id"] += sum(i.track_id > 0 for i in picture.instances)
        return +not_held


def _plain(name: str) -> str:
    """Readers cut lines at blanks, and unquote words."""
    return re.sub(r"[\s\"]+", "_", name)
