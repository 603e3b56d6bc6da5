"""LVIS: `annotations/lvis_<split>.json` beside `images/`, as the `lvis` package reads it.

LVIS judges a picture only by the classes that are known of it. Every class was looked for in every
picture, so that is all of them: `neg_category_ids` are those of which nothing at all was recorded,
`not_exhaustive_category_ids` those of which something is recorded that the export leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.polygons import MIN_IOU
from annotate.data.types import ClassSpec
from exporters.base import Exporter
from exporters.coco_document import Entry, documents, image_entry, outline, place, said_of
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

RARE, COMMON = 10, 100  # up to so many pictures a class is rare, or common; else frequent


class Lvis(Exporter):
    """`masks` as polygons, or as exact run lengths (rle); `tolerance` of polygons in px.

    `negatives` is whether pictures list the classes that they do not have.
    """

    tracked = True
    promised_iou = MIN_IOU
    loading = """
from lvis import LVIS

lvis = LVIS("annotations/lvis_default.json")  # or lvis_train.json, with a split
masks = [lvis.ann_to_mask(a) for a in lvis.load_anns(lvis.get_ann_ids())]
"""

    layout = Layout(still="{item}", frame="{item}/{index:06d}")

    def __init__(
        self,
        *,
        masks: Literal["polygons", "rle"],
        tolerance: Annotated[FiniteFloat, within(0)],
        negatives: bool,
    ) -> None:
        self._tolerance = tolerance if masks == "polygons" else None
        self._negatives = negatives

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a json for each split; how often classes are there follows at its end."""
        classes = pictures.classes.classes
        annotations = 0
        instances: dict[str, Counter[int]] = {name: Counter() for name in pictures.sets}
        images: dict[str, Counter[int]] = {name: Counter() for name in pictures.sets}
        with documents(folder / "annotations", pictures.sets, "lvis_{}.json", {}) as written:
            for n, picture in enumerate(pictures, start=1):
                document = written[picture.split]
                document.images.add(
                    image_entry(picture, n) | self._looked_for(picture, len(classes))
                )
                for instance in picture.instances:
                    annotations += 1
                    entry = {
                        "id": annotations,
                        "image_id": n,
                        "category_id": instance.class_id + 1,
                        "segmentation": outline(instance, self._tolerance),
                        **place(instance),
                        **said_of(instance),
                    }
                    document.annotations.add(entry)
                found = Counter(i.class_id for i in picture.instances)
                instances[picture.split] += found
                images[picture.split].update(found.keys())
            for name, document in written.items():
                document.more["categories"] = [
                    _category(i, spec, images[name][i], instances[name][i])
                    for i, spec in enumerate(classes)
                ]
        return {}

    def _looked_for(self, picture: Picture, classes: int) -> Entry:
        kept = {i.class_id for i in picture.instances}
        recorded = {i.class_id for i in picture.record.instances}
        none = set(range(classes)) - recorded - kept if self._negatives else set()
        return {
            "coco_url": "",
            "flickr_url": "",
            "neg_category_ids": sorted(i + 1 for i in none),
            "not_exhaustive_category_ids": sorted(i + 1 for i in recorded - kept),
        }


def _category(index: int, spec: ClassSpec, images: int, instances: int) -> Entry:
    return {
        "id": index + 1,
        "name": spec.name,
        "synset": "",
        "synonyms": list(spec.phrases),
        "def": "",
        "frequency": "r" if images <= RARE else "c" if images <= COMMON else "f",
        "image_count": images,
        "instance_count": instances,
    }
