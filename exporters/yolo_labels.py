"""What YOLO's formats share: `images/<split>/`, `labels/<split>/` and a `data.yaml`.

A label file for each picture, with a line for each instance, whose numbers are shares of the
picture's sides. What Ultralytics does with names and small pictures (img2label_paths,
get_img_files, check_image) decides the rest.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import yaml

from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.layout import Layout
from exporters.pictures import Pictures

UNSPLIT = "train"
MIN_SIDE_PX = 10  # Ultralytics calls smaller pictures corrupt
LOGGER = logging.getLogger(__name__)


class YoloLabels(Exporter):
    """One kind of label."""

    # In one folder a set: supervision and Datumaro do not look further down.
    layout = Layout(
        frame="{split}/{item}_{index:06d}",
        unsplit=UNSPLIT,
        portable=True,
        min_side_px=MIN_SIDE_PX,
    )
    name: ClassVar[str]  # for the log

    @abstractmethod
    def numbers(self, instance: Instance, not_held: Counter[str]) -> npt.NDArray[np.float64]:
        """An instance as shares of its picture's sides; what is lost is counted."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write labels and `data.yaml`; memory does not grow with the run.

        There is no place in them for scores and the tracks of videos.
        """
        for split in pictures.sets:
            (pictures.images_dir / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
        not_held: Counter[str] = Counter()
        for picture in pictures:
            label = folder / "labels" / PurePosixPath(picture.name).with_suffix(".txt")
            with label.open("w", encoding="ascii", newline="\n") as file:
                file.writelines(self._line(i, not_held) for i in picture.instances)
            not_held["score"] += len(picture.instances)
            not_held["track id"] += sum(i.track_id > 0 for i in picture.instances)
        counts = {s: pictures.tally.images[s if pictures.splits else ""] for s in pictures.sets}
        data = _data_yaml(self.name, pictures.classes.names, counts, asked=bool(pictures.splits))
        text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
        (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")
        return +not_held

    def _line(self, instance: Instance, not_held: Counter[str]) -> str:
        shares = self.numbers(instance, not_held).ravel()
        return " ".join([str(instance.class_id), *(f"{v:.6f}" for v in shares)]) + "\n"


def _data_yaml(
    name: str, names: list[str], images: Mapping[str, int], *, asked: bool
) -> dict[str, Any]:
    """Ultralytics wants `train` and `val`, and refuses an empty one; others only by its names.

    `images` are counted by set; `asked` is whether a split was asked for.
    """
    filled = [s for s, count in images.items() if count] or list(images)
    largest = max(filled, key=lambda s: (images[s], s))
    sets: dict[str, str] = {}
    for key in ("train", "val", "test"):
        if key in filled:
            sets[key] = f"images/{key}"
        elif key != "test":
            sets[key] = f"images/{largest}"
            if asked:
                LOGGER.warning("%s: no pictures for %r; data.yaml names %r", name, key, largest)
    return {**sets, "names": dict(enumerate(names))}
