"""YOLO segmentation: `images/<split>/`, `labels/<split>/` and a `data.yaml` that can be moved.

One line per instance, `class x y x y ...` with coordinates as shares of the picture's sides; holes
and parts are joined into one ring by bridges without width. What Ultralytics does with names and
small pictures (img2label_paths, get_img_files, check_image) decides the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.pictures import Layout, Pictures
from exporters.polygons import joined_ring

UNSPLIT = "train"
MIN_SIDE_PX = 10  # Ultralytics calls smaller pictures corrupt
LOGGER = logging.getLogger(__name__)


class YoloSeg(Exporter):
    """`tolerance` is how far a ring may leave the mask's edge, in px."""

    layout = Layout(labelled=True, unsplit=UNSPLIT, min_side_px=MIN_SIDE_PX)

    def __init__(self, *, tolerance: Annotated[FiniteFloat, within(0)]) -> None:
        self.tolerance = tolerance

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write labels and `data.yaml`; memory does not grow with the run.

        There is no place in them for the tracks of videos.
        """
        splits = pictures.splits or (UNSPLIT,)
        for split in splits:
            (pictures.images_dir / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
        tracked = 0
        for picture in pictures:
            label = folder / "labels" / PurePosixPath(picture.name).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            with label.open("w", encoding="ascii", newline="\n") as file:
                file.writelines(_line(i, self.tolerance) for i in picture.instances)
            tracked += sum(i.track_id > 0 for i in picture.instances)
        counts = {s: pictures.tally.images[s if pictures.splits else ""] for s in splits}
        data = _data_yaml(pictures.classes.names, counts, asked=bool(pictures.splits))
        text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
        (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")
        return {"track id": tracked} if tracked else {}


def _line(instance: Instance, tolerance_px: float) -> str:
    h, w = instance.mask.size_hw
    ring = joined_ring(instance.mask, tolerance_px) / np.array([w, h])
    return " ".join([str(instance.class_id), *(f"{v:.6f}" for v in ring.ravel())]) + "\n"


def _data_yaml(names: list[str], images: Mapping[str, int], *, asked: bool) -> dict[str, Any]:
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
                LOGGER.warning("yolo_seg: no pictures for %r; data.yaml names %r", key, largest)
    return {**sets, "names": dict(enumerate(names))}
