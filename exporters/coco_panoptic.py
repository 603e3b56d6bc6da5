"""COCO panoptic: `annotations/panoptic_<split>.json`, and a PNG of each picture beside it.

A pixel is of one object there, whose id is `R + 256 G + 65536 B`; what is behind another is hidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as PilImage

from exporters.base import Exporter
from exporters.coco_document import Entry, Videos, documents, image_entry, said_of
from exporters.layers import Layers
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

MOST_COLOURS = 2**24


class CocoPanoptic(Exporter):
    """Every class is a thing; there is no stuff."""

    layered = True
    tracked = True
    promised_iou = 1.0
    loading = """
import json

panoptic = json.load(open("annotations/panoptic_default.json"))  # or panoptic_train.json
# panopticapi.utils.rgb2id turns the PNGs of annotations/panoptic_default/ into ids of segments.
"""

    layout = Layout(still="{item}", frame="{item}/{index:06d}", labelled=True)

    def __init__(self) -> None:
        """It has no options."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a json and a folder of PNGs for each split."""
        not_held: Counter[str] = Counter()
        videos = Videos()
        head = {
            "categories": [
                {"id": i, "name": name, "supercategory": "", "isthing": 1, "color": _colour(i)}
                for i, name in enumerate(pictures.classes.names, start=1)
            ]
        }
        with documents(folder / "annotations", pictures.sets, "panoptic_{}.json", head) as written:
            for n, picture in enumerate(pictures, start=1):
                document = written[picture.split]
                place_in_video = videos.place(picture, document)
                document.images.add(image_entry(picture, n) | place_in_video)
                name = PurePosixPath(picture.name).with_suffix(".png")
                target = folder / "annotations" / f"panoptic_{picture.split or 'default'}" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                segments = _paint(picture, target, not_held)
                document.annotations.add(
                    {"image_id": n, "file_name": str(name), "segments_info": segments}
                )
        return +not_held


def _paint(picture: Picture, target: Path, not_held: Counter[str]) -> list[Entry]:
    """Write the PNG; ids are the places of instances in their picture, from 1 on."""
    instances = picture.instances
    layers = Layers(instances, (picture.record.height, picture.record.width), not_held)
    ids = layers.plane
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    PilImage.fromarray(colours).save(target, compress_level=1)
    return [
        {
            "id": i + 1,
            "category_id": instance.class_id + 1,
            "area": int(layers.areas[i]),
            "bbox": layers.box_xywh(i),
            "iscrowd": 0,
            **said_of(instance),
        }
        for i, instance in enumerate(instances)
        if layers.areas[i]
    ]


def _colour(number: int) -> list[int]:
    """One that is not another's; for viewers."""
    mixed = number * 0x9E3779B1 % MOST_COLOURS
    return [mixed & 255, mixed >> 8 & 255, mixed >> 16]
