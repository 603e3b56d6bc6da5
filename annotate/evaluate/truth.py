"""Ground truth to judge a run by: a COCO json in its usual dialects, or another run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pycocotools import mask as coco_mask

from annotate.data.selection import Selection, kept_instances
from annotate.data.types import FrameRecord, Rle
from annotate.errors import ConfigError, StorageError
from annotate.record.run_folder import Run
from annotate.store.remote import is_url, read_text


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Annotated frames, each with its objects as COCO annotations; boxes there are x, y, w, h px.

    An annotation has `category_id`, `bbox`, `area`, `iscrowd`, a compressed `segmentation` where
    the truth has masks, and a `track_id` where it knows one.
    """

    source: str
    classes: Mapping[str, int]  # name -> category id
    images: Mapping[str, Mapping[str, Any]]  # by frame_id, else file_name
    objects: Mapping[int, Sequence[Mapping[str, Any]]]  # by image id
    has_masks: bool  # objects have masks, not boxes alone

    def judged(self, run: Run) -> Iterator[tuple[FrameRecord, Mapping[str, Any]]]:
        """The records of frames that both have, each with the truth's image.

        Raises ConfigError where they are not of one size: boxes and masks could not be compared.
        """
        for record in run.frames():
            image = self.images.get(record.frame_id)
            if image is None or record.status != "ok":
                continue
            size = image.get("width", record.width), image.get("height", record.height)
            if size != (record.width, record.height):
                raise ConfigError(
                    f"{self.source}: {record.frame_id} is {size[0]}x{size[1]} there and "
                    f"{record.width}x{record.height} in the run (upright): not the same pictures"
                )
            yield record, image

    def objects_of(self, image: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The annotations of an image."""
        return self.objects.get(image["id"], ())


def read_truth(
    source: Path | str, *, threshold: float, mapping: Mapping[str, str | None] | None = None
) -> Truth:
    """Read a COCO instances json (also of videos, and as YouTube-VIS writes them), or a run folder.

    Both may be urls. Of a run counts what an export at `threshold` has. `mapping` renames classes
    of the truth, or drops them with null. Raises ConfigError.
    """
    if _is_run(source):
        document = _document_of(Run.open(source), threshold)
    else:
        document = _read_document(source)
    try:
        return _truth(document, str(source), mapping or {})
    except Exception as error:  # pycocotools raises plain ones
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ConfigError(f"truth={source}: not a COCO instances json ({reason})") from error


def read_mapping(path: Path) -> dict[str, str | None]:
    """A yaml file `class of the truth: class of the run` (null: not judged). Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"mapping={path}: cannot read it ({error})") from error
    if not isinstance(content, dict) or not all(
        isinstance(v, str) or v is None for v in content.values()
    ):
        raise ConfigError(f"mapping={path}: expected lines such as `automobile: car`")
    return {str(name): run_name for name, run_name in content.items()}


def _is_run(source: Path | str) -> bool:
    if is_url(source):
        return not source.endswith(".json")
    return (Path(source) / "config.yaml").is_file()


def _read_document(source: Path | str) -> dict[str, Any]:
    try:
        text = read_text(source) if is_url(source) else Path(source).read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        if "images" not in document and "videos" in document:
            return _frame_by_frame(document)
        return {key: document[key] for key in ("images", "annotations", "categories")}
    except (StorageError, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        if isinstance(error, OSError):
            reason = error.strerror or error
        raise ConfigError(f"truth={source}: not a COCO instances json ({reason})") from error


def _frame_by_frame(document: Mapping[str, Any]) -> dict[str, Any]:
    """YouTube-VIS lists the masks of an object over a video; here every frame is an image.

    A video is the folder that its files are in, as a dataset of frame folders names it.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    first_image: dict[int, int] = {}
    for video in document["videos"]:
        first_image[video["id"]] = len(images) + 1
        item = str(Path(video["file_names"][0]).parent.as_posix())
        for index in range(len(video["file_names"])):
            images.append(
                {
                    "id": len(images) + 1,
                    "frame_id": f"{item}#{index:06d}",
                    "width": video["width"],
                    "height": video["height"],
                    "video_id": video["id"],
                }
            )
    for track in document["annotations"]:
        for index, shape in enumerate(track["segmentations"]):
            if shape:
                annotations.append(
                    {
                        "image_id": first_image[track["video_id"]] + index,
                        "category_id": track["category_id"],
                        "segmentation": shape,
                        "track_id": track["id"],
                        "iscrowd": track.get("iscrowd", 0),
                    }
                )
    categories = document["categories"]
    return {"images": images, "annotations": annotations, "categories": categories}


def _document_of(run: Run, threshold: float) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    videos: dict[str, int] = {}
    selection = Selection(run.decisions(), run.classes)  # with what a review decided
    for row in run.frames():
        record = selection.take(row)
        if record is None or record.status != "ok":
            continue
        image: dict[str, Any] = {
            "id": len(images) + 1,
            "frame_id": record.frame_id,
            "width": record.width,
            "height": record.height,
        }
        if record.media == "video":
            image["video_id"] = videos.setdefault(record.item, len(videos) + 1)
        images.append(image)
        for i in kept_instances(record, run.classes, threshold):
            annotation = {
                "image_id": image["id"],
                "category_id": i.class_id + 1,
                "segmentation": {"size": list(i.mask.size_hw), "counts": i.mask.counts},
            }
            annotations.append(annotation | ({"track_id": i.track_id} if i.track_id else {}))
    categories = [{"id": n, "name": name} for n, name in enumerate(run.classes.names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _truth(document: Mapping[str, Any], source: str, mapping: Mapping[str, str | None]) -> Truth:
    classes: dict[str, int] = {}
    renamed: dict[int, int] = {}
    for category in document["categories"]:
        name = mapping.get(category["name"], category["name"])
        if name is not None:
            # Several classes of the truth may be one of the run.
            renamed[category["id"]] = classes.setdefault(name, category["id"])
    # Some dialects number the frames of a video there.
    images = {
        frame_id if isinstance(frame_id := i.get("frame_id"), str) else i["file_name"]: i
        for i in document["images"]
    }
    by_id = {image["id"]: image for image in document["images"]}
    objects: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(document["annotations"], start=1):
        if annotation["category_id"] in renamed:
            image = by_id[annotation["image_id"]]
            tidy = _tidy(annotation, image) | {"id": number}
            tidy["category_id"] = renamed[annotation["category_id"]]
            objects[image["id"]].append(tidy)
    has_masks = all("segmentation" in o for of_image in objects.values() for o in of_image)
    return Truth(source, classes, images, dict(objects), has_masks)


def _tidy(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation with everything that is judged; what is missing follows from the mask."""
    tidy: dict[str, Any] = {
        "image_id": image["id"],
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    track_id = annotation.get("track_id", annotation.get("instance_id"))
    if track_id is not None:
        tidy["track_id"] = track_id
    if annotation.get("segmentation"):
        tidy["segmentation"] = rle = _run_lengths(annotation["segmentation"], image)
        tidy["bbox"] = annotation.get("bbox") or coco_mask.toBbox(rle).tolist()
        area = annotation.get("area")
        tidy["area"] = float(coco_mask.area(rle)) if area is None else area
    else:
        tidy["bbox"] = annotation["bbox"]
        tidy["area"] = annotation.get("area") or float(np.prod(annotation["bbox"][2:]))
    return tidy


def _run_lengths(shape: Any, image: Mapping[str, Any]) -> dict[str, Any]:
    """Polygons, or run lengths compressed or not, as pycocotools' compressed ones."""
    size_hw = image["height"], image["width"]
    if isinstance(shape, list):
        # Fewer than three corners enclose nothing, and four numbers would be taken for a box.
        rings = [ring for ring in shape if len(ring) >= 6]
        shape = rings or [[0.0] * 6]
    if isinstance(shape, list) or isinstance(shape["counts"], list):
        encoded = coco_mask.frPyObjects(shape, *size_hw)
        merged = coco_mask.merge(encoded) if isinstance(encoded, list) else encoded
        return dict(merged)
    counts = shape["counts"]
    encoded_counts = counts.encode("ascii") if isinstance(counts, str) else counts
    return {"size": list(size_hw), "counts": encoded_counts}


def mask_of(annotation: Mapping[str, Any]) -> Rle:
    """The mask of an annotation of a Truth."""
    shape = annotation["segmentation"]
    height, width = shape["size"]
    return Rle(shape["counts"].decode("ascii"), (height, width))
