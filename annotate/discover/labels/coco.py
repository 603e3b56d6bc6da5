"""A folder with COCO's jsons in `annotations/`: instances, LVIS, CocoVID or YouTube-VIS, by set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annotate.discover.labels.contents import Contents, Entry

DOUBLED = "ytvis_"  # say of videos what `cocovid_` says of frames


def is_one(path: Path) -> bool:
    """Whether a folder has jsons of annotations."""
    return bool(_files(path))


def read(path: Path) -> Contents:
    """Files together: ids are those of their file."""
    contents = Contents(path)
    for file in _files(path):
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        names = {c["id"]: str(c["name"]) for c in document["categories"]}
        for name in names.values():
            contents.class_id(name)
        if "images" not in document:
            _by_video(contents, document, names)
            continue
        ids = {image["id"]: _image(contents, image) for image in document["images"]}
        for annotation in document["annotations"]:
            image, category = ids[annotation["image_id"]], names[annotation["category_id"]]
            said = {k: v for k, v in annotation.items() if k not in ("id", "image_id")}
            contents.annotations.append(
                said | {"image_id": image, "category_id": contents.class_id(category)}
            )
    return contents


def _image(contents: Contents, image: Entry) -> int:
    name = image.get("file_name") or str(image.get("coco_url", "")).rpartition("/")[2]
    size = int(image["height"]), int(image["width"])
    more = {"source": image["source"]} if isinstance(image.get("source"), str) else {}
    return contents.image(name, size, **more)


def _by_video(contents: Contents, document: Entry, names: dict[Any, str]) -> None:
    images: dict[Any, list[int]] = {}
    for video in document["videos"]:
        size = int(video["height"]), int(video["width"])
        images[video["id"]] = [contents.image(name, size) for name in video["file_names"]]
    for track in document["annotations"]:
        shapes = track["segmentations"]
        for image, shape in zip(images[track["video_id"]], shapes, strict=True):
            if shape:
                contents.add(
                    image,
                    names[track["category_id"]],
                    segmentation=shape,
                    track_id=int(track.get("track_id", track["id"])),
                    score=track.get("score"),
                )


def _files(path: Path) -> list[Path]:
    """Files of frames, or of tracks where there are none of frames."""
    found = [p for p in sorted((path / "annotations").glob("*.json")) if "panoptic" not in p.name]
    return [p for p in found if not p.name.startswith(DOUBLED)] or found
