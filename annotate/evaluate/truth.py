"""Ground truth to judge a run by: a COCO json in its usual dialects, or another run."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import yaml
from pycocotools import mask as coco_mask

from annotate.data import geometry
from annotate.data.decisions import Decisions
from annotate.data.selection import Selection, kept_instances
from annotate.data.types import FrameRecord, Rle
from annotate.discover import labels
from annotate.discover.coco_file import Document, Entry, document_of, read_document
from annotate.errors import ConfigError, one_line
from annotate.evaluate.truth_frames import frames_of, may_share
from annotate.record.run_folder import Run
from annotate.store.remote import is_url

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Annotated frames, each with its objects as COCO annotations; boxes there are x, y, w, h px.

    Images and annotations are as `coco_file.Document` has them; annotations have an `id` as well.
    """

    source: str
    classes: Mapping[str, int]  # name -> category id
    images: Mapping[str, Mapping[str, Any]]  # by frame_id, else file_name
    objects: Mapping[int, Sequence[Mapping[str, Any]]]  # by image id
    has_masks: bool  # objects have masks, not boxes alone
    _of_run: dict[Path, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    _by_masks: dict[Path, bool] = field(default_factory=dict)

    def judged(
        self, run: Run, *, reviewed: bool = False
    ) -> Iterator[tuple[FrameRecord, Mapping[str, Any]]]:
        """The records of frames that both have, each with the truth's image.

        As they were made, or `reviewed`: as exports have them, with what people decided. Raises
        ConfigError where they are not of one size: boxes and masks could not be compared.
        """
        if run.path not in self._of_run:
            self._of_run[run.path] = frames_of(list(self.images.values()), run, self.source)
        images = self._of_run[run.path]
        decisions = run.decisions() if reviewed else Decisions()
        selection = Selection(decisions, run.classes)
        for row in run.frames():
            image = images.get(row.frame_id)
            if image is None or row.status != "ok" or (record := selection.take(row)) is None:
                continue
            size = image.get("width", record.width), image.get("height", record.height)
            if size != (record.width, record.height):
                raise ConfigError(
                    f"{self.source}: {record.frame_id} is {size[0]}x{size[1]} there and "
                    f"{record.width}x{record.height} in the run (upright): not the same pictures"
                )
            yield record, image

    def by_masks(self, run: Run) -> bool:
        """Whether a run is judged by masks: both have them, and the run's are not boxes, filled.

        Else it is judged by boxes: a filled box says nothing of an object's outline.
        """
        if self.has_masks and run.path not in self._by_masks:
            self._by_masks[run.path] = not _has_boxes_alone(run)
            if not self._by_masks[run.path]:
                log.warning("%s has boxes alone, no masks: it is judged by them", run.path)
        return self.has_masks and self._by_masks[run.path]

    def objects_of(self, image: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The annotations of an image."""
        return self.objects.get(image["id"], ())

    def may_share(self, items: Collection[str]) -> bool:
        """Whether any image may be of one of these items of a dataset."""
        return may_share(list(self.images.values()), items)


def read_truth(
    source: Path | str, *, threshold: float, mapping: Mapping[str, str | None] | None = None
) -> Truth:
    """Read a COCO instances json (also of videos, and as YouTube-VIS writes them), or a run folder.

    Both may be urls. A folder of labels, or an xml of CVAT, is read as `discover.labels` does. Of a
    run counts what an export at `threshold` has. `mapping` renames classes of the truth, or drops
    them with null. What is odd in it is said. Raises ConfigError.
    """
    if _is_run(source):
        document = _document_of(Run.open(source), threshold)
    elif kind := _labels(source):
        document = _labelled(Path(source), kind)
    else:
        document = read_document(source, key="truth")
    masks = sum("segmentation" in a for a in document.annotations)
    remarks = list(document.remarks)
    if 0 < masks < (total := len(document.annotations)):
        remarks.append(
            f"{total - masks} of {total} objects have no mask: all are judged by their boxes alone"
        )
    for remark in remarks:
        log.warning("truth=%s: %s", source, remark)
    return _truth(document, str(source), mapping or {})


def read_mapping(path: Path) -> dict[str, str | None]:
    """A yaml file `class of the truth: class of the run` (null: not judged). Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"mapping={path}: cannot read it ({one_line(error)})") from error
    if not isinstance(content, dict) or not all(
        isinstance(v, str) or v is None for v in content.values()
    ):
        raise ConfigError(f"mapping={path}: expected lines such as `automobile: car`")
    return {str(name): run_name for name, run_name in content.items()}


def _has_boxes_alone(run: Run) -> bool:
    """Whether every mask is its box, filled; a run without instances has not."""
    any_at_all = False
    for batch in run.table().to_batches(columns=["width", "height", "instances"]):
        rows = pc.list_parent_indices(batch["instances"]).to_numpy()
        instances = pc.list_flatten(batch["instances"])
        boxes = pc.list_flatten(pc.struct_field(instances, "box_xyxy")).to_numpy()
        areas = pc.struct_field(instances, "area").to_numpy()
        sizes = np.stack([batch["height"].to_numpy(), batch["width"].to_numpy()], 1)[rows]
        if not geometry.are_filled(boxes.reshape(-1, 4).astype(float), areas, sizes):
            return False
        any_at_all |= len(areas) > 0
    return any_at_all


def _is_run(source: Path | str) -> bool:
    if is_url(source):
        return not source.endswith(".json")
    try:
        return (Path(source) / "config.yaml").is_file()
    except (OSError, ValueError):  # of a name that no file can have
        return False


def _labels(source: Path | str) -> str | None:
    """The format of a folder of labels, or of an xml."""
    try:
        if is_url(source) or not (Path(source).is_dir() or Path(source).suffix.lower() == ".xml"):
            return None
    except (OSError, ValueError):  # of a name that no file can have
        return None
    if (kind := labels.detect(Path(source))) is None:
        known = ", ".join(labels.FORMATS)
        raise ConfigError(
            f"truth={source}: not a COCO instances json, a run folder, nor a folder of labels "
            f"({known})"
        )
    return kind


def _labelled(source: Path, kind: str) -> Document:
    contents = labels.read(source, kind, key="truth")
    for what, count in contents.left_out.items():
        log.warning("truth=%s: %d %s", source, count, what)
    return document_of(contents.content, what=f"truth={source}: not {labels.FORMATS[kind]}")


def _document_of(run: Run, threshold: float) -> Document:
    images: list[Entry] = []
    annotations: list[Entry] = []
    selection = Selection(run.decisions(), run.classes)  # with what a review decided
    for row in run.frames():
        record = selection.take(row)
        if record is None or record.status != "ok":
            continue
        image: Entry = {
            "id": len(images) + 1,
            "name": record.frame_id,
            "at": record.frame_id,
            "frame_id": record.frame_id,
            "width": record.width,
            "height": record.height,
        }
        images.append(image)
        for i in kept_instances(record, run.classes, threshold):
            annotation: Entry = {
                "image_id": image["id"],
                "category_id": i.class_id + 1,
                "segmentation": i.mask.coco,
                "bbox": coco_mask.toBbox(i.mask.coco).tolist(),
                "area": float(coco_mask.area(i.mask.coco)),
                "iscrowd": 0,
            }
            annotations.append(annotation | ({"track_id": i.track_id} if i.track_id else {}))
    return Document(dict(enumerate(run.classes.names, start=1)), images, annotations)


def _truth(document: Document, source: str, mapping: Mapping[str, str | None]) -> Truth:
    classes: dict[str, int] = {}
    renamed: dict[int, int] = {}
    for number, own_name in document.categories.items():
        name = mapping.get(own_name, own_name)
        if name is not None:
            # Several classes of the truth may be one of the run.
            renamed[number] = classes.setdefault(name, number)
    objects: defaultdict[int, list[Entry]] = defaultdict(list)
    for number, annotation in enumerate(document.annotations, start=1):
        if (category := renamed.get(annotation["category_id"])) is not None:
            made = annotation | {"id": number, "category_id": category}
            objects[annotation["image_id"]].append(made)
    has_masks = all("segmentation" in o for of_image in objects.values() for o in of_image)
    images = {image["name"]: image for image in document.images}
    return Truth(source, classes, images, dict(objects), has_masks)


def mask_of(annotation: Mapping[str, Any]) -> Rle:
    """The mask of an annotation of a Truth."""
    shape = annotation["segmentation"]
    height, width = shape["size"]
    return Rle(shape["counts"].decode("ascii"), (height, width))
