"""DAVIS: `Annotations/480p/<video>/00000.png` of indexed colour beside `JPEGImages/480p/`.

The folder is called 480p whatever the size, for that is where readers of DAVIS look. A pixel is of
one object. Objects of a video are numbered 1..255 as they appear; `objects.csv` says which track
and class each is. `ImageSets/2017/<split>.txt` lists the videos. There is no place for stills.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.by_track import OTHER_CLASS, once_a_track
from exporters.layers import Layers
from exporters.layout import Layout
from exporters.palette import COLOURS, write_indexed
from exporters.pictures import Picture, Pictures

UNSPLIT = "train"
TOO_MANY = f"instance of a track beyond the {COLOURS - 1} of a video"


class Davis(Exporter):
    """Masks of tracks; there is no place for scores."""

    layered = True
    tracked = True
    once_a_track = True
    promised_iou = 1.0
    loading = """
import numpy, PIL.Image

objects = numpy.array(PIL.Image.open("Annotations/480p/VIDEO/00000.png"))  # 0: none
picture = PIL.Image.open("JPEGImages/480p/VIDEO/00000.jpg")
"""

    layout = Layout(
        folder="JPEGImages/480p",
        still="{item}",
        frame="{item}/{number:05d}",
        videos_only=True,
        portable=True,
        suffix=".jpg",
    )

    def __init__(self) -> None:
        """It has no options."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a PNG for each frame; memory does not grow with the run."""
        not_held: Counter[str] = Counter()
        listed: dict[str, list[str]] = {name: [] for name in pictures.sets}
        names = pictures.classes.names
        with (folder / "objects.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["video", "object", "track_id", "class"])
            for (split, video), of_video in groupby(pictures, lambda p: (p.split, p.item)):
                listed[split].append(video)
                numbers: dict[int, int] = {}  # of objects, by track
                classes: dict[int, int] = {}
                for picture in of_video:
                    kept = once_a_track(picture.instances, not_held)
                    for instance in kept:
                        track_id, class_id = instance.track_id, instance.class_id
                        if track_id not in numbers and len(numbers) < COLOURS - 1:
                            numbers[track_id] = len(numbers) + 1
                            classes[track_id] = class_id
                            table.writerow([video, numbers[track_id], track_id, names[class_id]])
                        not_held[OTHER_CLASS] += classes.get(track_id, class_id) != class_id
                    _paint(folder, picture, kept, numbers, not_held)
        (folder / "ImageSets" / "2017").mkdir(parents=True)
        for split, videos in listed.items():
            target = folder / "ImageSets" / "2017" / f"{split or UNSPLIT}.txt"
            target.write_text("".join(f"{v}\n" for v in videos), encoding="ascii", newline="\n")
        return +not_held


def _paint(
    folder: Path,
    picture: Picture,
    kept: Sequence[Instance],
    numbers: Mapping[int, int],
    not_held: Counter[str],
) -> None:
    held = [i for i in kept if i.track_id in numbers]
    not_held[TOO_MANY] += len(kept) - len(held)
    not_held["score"] += len(held)
    layers = Layers(held, (picture.record.height, picture.record.width), not_held)
    target = folder / "Annotations" / "480p" / picture.item / f"{picture.number:05d}.png"
    write_indexed(target, layers.painted([numbers[i.track_id] for i in held]))
