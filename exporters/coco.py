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

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.polygons import MIN_IOU
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.coco_document import (
    Entry,
    Videos,
    categories,
    documents,
    image_entry,
    outline,
    place,
    said_of,
)
from exporters.layout import Layout
from exporters.pictures import Pictures


class Coco(Exporter):
    """`masks` as polygons, or as exact run lengths (rle).

    `tolerance` is how far a polygon may leave the mask's edge, in px.
    """

    tracked = True
    promised_iou = MIN_IOU
    loading = """
from pycocotools.coco import COCO

coco = COCO("annotations/instances_default.json")  # or instances_train.json, with a split
masks = [coco.annToMask(a) for a in coco.loadAnns(coco.getAnnIds(coco.getImgIds()[0]))]
"""

    layout = Layout(still="{item}", frame="{item}/{index:06d}")

    def __init__(
        self,
        *,
        masks: Literal["polygons", "rle"],
        tolerance: Annotated[FiniteFloat, within(0)],
    ) -> None:
        self._tolerance = tolerance if masks == "polygons" else None

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a json for each split; memory does not grow with the run."""
        annotations = 0
        videos = Videos()
        head = {"categories": categories(pictures.classes.names)}
        with documents(folder / "annotations", pictures.sets, "instances_{}.json", head) as written:
            for images, picture in enumerate(pictures, start=1):
                document = written[picture.split]
                place_in_video = videos.place(picture, document)
                document.images.add(image_entry(picture, images) | place_in_video)
                for instance in picture.instances:
                    annotations += 1
                    document.annotations.add(self._annotation(instance, annotations, images))
        return {}

    def _annotation(self, instance: Instance, annotation_id: int, image_id: int) -> Entry:
        said = said_of(instance)
        return {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": instance.class_id + 1,
            "segmentation": outline(instance, self._tolerance),
            **place(instance),
            "iscrowd": 0,
            **said,
            "attributes": {"instance": instance.instance_id, **said},
        }
