"""COCO panoptic: a json of segments, and a PNG of their ids for each picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from annotate.discover.labels.contents import Contents, masks_in


def is_one(path: Path) -> bool:
    """Whether a folder has a json of segments."""
    return any((path / "annotations").glob("panoptic_*.json"))


def read(path: Path) -> Contents:
    """Things and stuff alike; crowds are marked."""
    contents = Contents(path)
    for file in sorted((path / "annotations").glob("panoptic_*.json")):
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        names = {c["id"]: str(c["name"]) for c in document["categories"]}
        for name in names.values():
            contents.class_id(name)
        ids = {
            image["id"]: contents.image(
                image["file_name"], (int(image["height"]), int(image["width"]))
            )
            for image in document["images"]
        }
        for annotation in document["annotations"]:
            with PilImage.open(file.with_suffix("") / annotation["file_name"]) as picture:
                channels = np.asarray(picture.convert("RGB"), np.int64)
            plane = channels @ [1, 256, 65536]
            segments = annotation["segments_info"]
            masks = masks_in(plane, [int(s["id"]) for s in segments])
            for segment in segments:
                if (mask := masks.get(int(segment["id"]))) is None:
                    contents.left_out["segments without a pixel left out"] += 1
                    continue
                contents.add(
                    ids[annotation["image_id"]],
                    names[segment["category_id"]],
                    segmentation=mask,
                    track_id=segment.get("track_id"),
                    score=segment.get("score"),
                )
                contents.annotations[-1]["iscrowd"] = segment.get("iscrowd", 0)
    return contents
