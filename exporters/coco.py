"""COCO instances: `annotations/instances_<split>.json` beside `images/`; `default` has no split.

Frames of videos have `video_id` and `frame_index`, their annotations `track_id`, and the file lists
its `videos`; an export without videos has none of these. `source` tells the file of the dataset.

`file_name` is relative to `images/` whatever the split: one image root serves every file, and
joining root and `file_name` is what torchvision, detectron2, MMDetection, supervision and
Ultralytics' converter do. Ids count over all splits, so that the files can be merged again.

What is more than COCO stands beside and under `attributes`, where Datumaro and CVAT look for it. No
key is one that a reader has another use for: FiftyOne reserves `instance_id`, and MMDetection takes
`frame_id` for a number.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Literal, cast

from pycocotools import mask as coco_mask
from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.types import FrameRecord, Instance
from exporters.base import Exporter
from exporters.pictures import Layout, Picture, Pictures
from exporters.polygons import coco_polygons


class Coco(Exporter):
    """`masks` as polygons, or as exact run lengths (rle).

    `tolerance` is how far a polygon may leave the mask's edge, in px.
    """

    layout = Layout(by_split=False)

    def __init__(
        self,
        *,
        masks: Literal["polygons", "rle"],
        tolerance: Annotated[FiniteFloat, within(0)],
    ) -> None:
        self.masks, self.tolerance = masks, tolerance

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a json for each split; memory does not grow with the run."""
        (folder / "annotations").mkdir()
        images = annotations = 0
        video_ids: dict[str, int] = {}
        names = pictures.classes.names
        with ExitStack() as stack:
            documents = {
                split: stack.enter_context(
                    _document(folder / "annotations" / _file_name(split), names)
                )
                for split in pictures.splits or ("",)
            }
            for picture in pictures:
                images += 1
                document = documents[picture.split]
                image = _image(picture, images)
                if picture.record.media == "video":
                    image |= _place_in_video(picture.record, video_ids, document)
                document.images.add(image)
                for instance in picture.instances:
                    annotations += 1
                    document.annotations.add(self._annotation(instance, annotations, images))
        return {}

    def _annotation(self, instance: Instance, annotation_id: int, image_id: int) -> dict[str, Any]:
        h, w = instance.mask.size_hw
        rle = {"size": [h, w], "counts": instance.mask.counts}
        if self.masks == "rle":
            segmentation: Any = rle
        else:
            segmentation = coco_polygons(instance.mask, self.tolerance)
        said: dict[str, Any] = {
            "score": instance.score,
            "mask_score": instance.mask_score,
            "phrase": instance.phrase,
        }
        signals = {"agreement": instance.agreement, "verified": instance.verified}
        said |= {name: value for name, value in signals.items() if value is not None}
        if instance.track_id:
            said["track_id"] = instance.track_id
        return {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": instance.class_id + 1,
            "segmentation": segmentation,
            "area": int(cast(Any, coco_mask.area(rle))),
            "bbox": [int(v) for v in cast(Any, coco_mask.toBbox(rle))],
            "iscrowd": 0,
            **said,
            "attributes": {"instance": instance.instance_id, **said},
        }


@dataclass(slots=True)
class _Entries:
    """A JSON list, one entry a line."""

    file: IO[str]
    separator: str = field(default="\n")

    def add(self, entry: dict[str, Any]) -> None:
        self.file.write(self.separator + _json(entry))
        self.separator = ",\n"


@dataclass(frozen=True, slots=True)
class _Document:
    images: _Entries
    annotations: _Entries
    videos: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def _document(path: Path, class_names: list[str]) -> Iterator[_Document]:
    """A COCO file: images go straight into it, annotations wait in a file of their own."""
    head = {
        "info": {"description": "Instances found by annotate", "version": "1.0"},
        "licenses": [],
        "categories": [
            {"id": i, "name": name, "supercategory": ""}
            for i, name in enumerate(class_names, start=1)
        ],
    }
    with (
        path.open("w", encoding="utf-8", newline="\n") as file,
        TemporaryFile("w+", encoding="utf-8", newline="\n", dir=path.parent) as waiting,
    ):
        file.write(_json(head)[:-1] + ',\n"images": [')
        document = _Document(_Entries(file), _Entries(waiting))
        yield document
        file.write('\n],\n"annotations": [')
        waiting.seek(0)
        shutil.copyfileobj(waiting, file)
        if document.videos:
            file.write('\n],\n"videos": [')
            entries = _Entries(file)
            for video in document.videos:
                entries.add(video)
        file.write("\n]}\n")


def _image(picture: Picture, image_id: int) -> dict[str, Any]:
    record = picture.record
    return {
        "id": image_id,
        "file_name": picture.name,
        "width": record.width,
        "height": record.height,
        "source": picture.source,
    }


def _place_in_video(
    record: FrameRecord, video_ids: dict[str, int], document: _Document
) -> dict[str, Any]:
    """What tells an image's place in its video, which is entered with its first image."""
    if record.item not in video_ids:
        video_ids[record.item] = len(video_ids) + 1
        document.videos.append(
            {
                "id": video_ids[record.item],
                "name": record.item,
                "width": record.width,
                "height": record.height,
            }
        )
    return {"video_id": video_ids[record.item], "frame_index": record.frame_index}


def _file_name(split: str) -> str:
    return f"instances_{split or 'default'}.json"


def _json(value: Any) -> str:
    # pycocotools reads with the system's encoding, which need not be UTF-8.
    return json.dumps(value, separators=(",", ":"))
