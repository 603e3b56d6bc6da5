"""A format that is not ours: boxes of the pictures that are large enough, as a csv file."""

import csv
from collections.abc import Mapping
from pathlib import Path

from exporters.base import Exporter
from exporters.layout import Layout
from exporters.pictures import Pictures


class BoxesCsv(Exporter):
    """A line per box: picture, class, x0, y0, x1, y1 in pixels. There are no masks in it."""

    layout = Layout(min_side_px=20)

    def __init__(self, *, digits: int) -> None:
        self.digits = digits

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        boxes = 0
        with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            for picture in pictures:
                for instance in picture.instances:
                    name = pictures.classes.names[instance.class_id]
                    box = (f"{v:.{self.digits}f}" for v in instance.box_xyxy)
                    rows.writerow([picture.name, name, *box])
                    boxes += 1
        return {"mask": boxes} if boxes else {}
