"""A format: one line per box, as a spreadsheet reads it."""

import csv

from exporters.base import Exporter


class BoxesCsv(Exporter):
    """`boxes.csv` beside `images/`."""

    def __init__(self, *, delimiter: str) -> None:
        self._delimiter = delimiter

    def write(self, pictures, folder):
        with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self._delimiter)
            writer.writerow(["picture", "class", "score", "x0", "y0", "x1", "y1"])
            masks = 0
            for picture in pictures:
                for i in picture.instances:
                    name = pictures.classes.names[i.class_id]
                    writer.writerow([picture.name, name, f"{i.score:.4f}", *i.box_xyxy])
                    masks += 1
        return {"masks": masks}
