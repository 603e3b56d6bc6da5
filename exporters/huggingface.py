"""Hugging Face: `data/<split>/` with `metadata.jsonl`, which `datasets` reads as an imagefolder.

A line for each picture: its `file_name` and `objects`, lists of equal length as object detection
has them there: `id`, `category` (an index into the classes), `bbox` x, y, width, height px, `area`,
`segmentation` (COCO's compressed run lengths), `score`, `phrase`, `track_id` (0 in stills).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from exporters.base import Exporter
from exporters.coco_document import Entry, as_json, place
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

UNSPLIT = "train"


class Huggingface(Exporter):
    """A folder that `load_dataset` reads."""

    tracked = True
    promised_iou = 1.0
    loading = """
from datasets import load_dataset

dataset = load_dataset("imagefolder", data_dir="data", split="train")
first = dataset[0]["image"], dataset[0]["objects"]["bbox"]
"""

    layout = Layout(folder="data", unsplit=UNSPLIT)

    def __init__(self) -> None:
        """It has no options."""

    def front_matter(self, pictures: Pictures) -> Mapping[str, Any]:
        """What the hub and `load_dataset` read of a card: sets, and the names of categories."""
        files = [{"split": s, "path": f"data/{s}/**"} for s in pictures.sets]
        return {
            "task_categories": ["object-detection", "image-segmentation"],
            "configs": [{"config_name": "default", "data_files": files}],
            "names": dict(enumerate(pictures.classes.names)),
        }

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a line for each picture; memory does not grow with the run."""
        names = pictures.classes.names
        with ExitStack() as stack:
            files = {}
            for split in pictures.sets:
                target = folder / "data" / split / "metadata.jsonl"
                target.parent.mkdir(parents=True)
                files[split] = stack.enter_context(target.open("w", encoding="ascii", newline="\n"))
            for picture in pictures:
                split = picture.split or UNSPLIT
                print(as_json(_row(picture, split, names)), file=files[split])
        return {}


def _row(picture: Picture, split: str, names: list[str]) -> Entry:
    instances = picture.instances
    places = [place(i) for i in instances]
    return {
        "file_name": picture.name.removeprefix(f"{split}/"),
        "width": picture.record.width,
        "height": picture.record.height,
        "source": picture.source,
        "frame_id": picture.record.frame_id,
        "objects": {
            "id": [i.instance_id for i in instances],
            "category": [i.class_id for i in instances],
            "name": [names[i.class_id] for i in instances],
            "bbox": [found["bbox"] for found in places],
            "area": [found["area"] for found in places],
            "segmentation": [i.mask.counts for i in instances],
            "score": [i.score for i in instances],
            "phrase": [i.phrase for i in instances],
            "track_id": [i.track_id for i in instances],
        },
    }
