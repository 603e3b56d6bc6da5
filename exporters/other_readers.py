"""Readers that nobody here wrote, each for a format: what they find in an export.

A reader takes the folder of an export and gives for each picture, by its name in `pictures.jsonl`,
what is on it. It raises ImportError where its library is not installed.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from annotate.data.geometry import encode_masks
from annotate.discover.labels.contents import picture_name, picture_size

Mask = Mapping[str, Any]  # COCO's run lengths, as pycocotools has them


@dataclass(frozen=True, slots=True)
class Found:
    """An object, as a reader has it."""

    name: str  # of its class, as the format has it
    box_xywh: Sequence[float] | None = None  # px
    mask: Mask | None = None
    track: int | None = None


Reading = Iterator[tuple[str, list[Found]]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of a format."""

    package: str  # that has it, by its name where packages are published
    read: Callable[[Path], Reading]


def _coco(folder: Path, pattern: str = "instances_*.json") -> Reading:
    from pycocotools.coco import COCO

    for file in sorted((folder / "annotations").glob(pattern)):
        coco = COCO(str(file))
        names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
        for image in coco.loadImgs(coco.getImgIds()):
            yield (
                image["file_name"],
                [
                    Found(
                        names[a["category_id"]],
                        a["bbox"],
                        coco.annToRLE(a),
                        a.get("track_id", a.get("instance_id")),
                    )
                    for a in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
                ],
            )


def _cocovid(folder: Path) -> Reading:
    return _coco(folder, "cocovid_*.json")


def _lvis(folder: Path) -> Reading:
    from lvis import LVIS

    for file in sorted((folder / "annotations").glob("lvis_*.json")):
        lvis = LVIS(str(file))
        names = {c["id"]: c["name"] for c in lvis.load_cats(None)}
        for image in lvis.load_imgs(lvis.get_img_ids()):
            annotations = lvis.load_anns(lvis.get_ann_ids(img_ids=[image["id"]]))
            yield (
                image["file_name"],
                [
                    Found(names[a["category_id"]], a["bbox"], lvis.ann_to_rle(a), a.get("track_id"))
                    for a in annotations
                ],
            )


def _panoptic(folder: Path) -> Reading:
    """As panopticapi's `rgb2id` has it."""
    for file in sorted((folder / "annotations").glob("panoptic_*.json")):
        document = json.loads(file.read_text())
        names = {c["id"]: c["name"] for c in document["categories"]}
        files = {i["id"]: i["file_name"] for i in document["images"]}
        for annotation in document["annotations"]:
            rgb = np.array(PilImage.open(file.with_suffix("") / annotation["file_name"]), int)
            ids = rgb[:, :, 0] + 256 * rgb[:, :, 1] + 256 * 256 * rgb[:, :, 2]
            yield (
                files[annotation["image_id"]],
                [
                    Found(
                        names[s["category_id"]], s["bbox"], _rle(ids == s["id"]), s.get("track_id")
                    )
                    for s in annotation["segments_info"]
                ],
            )


def _mot(folder: Path) -> Reading:
    from trackeval.datasets import MotChallenge2DBox

    yield from _trackeval(folder, MotChallenge2DBox, lambda box: {"box_xywh": _from_0(box)})


def _mots(folder: Path) -> Reading:
    from trackeval.datasets import MOTSChallenge

    yield from _trackeval(folder, MOTSChallenge, lambda rle: {"mask": rle})


def _from_0(box: Sequence[float]) -> list[float]:
    """The challenge counts pixels from 1."""
    return [box[0] - 1, box[1] - 1, box[2], box[3]]


def _trackeval(folder: Path, dataset: Any, shaped: Callable[[Any], dict[str, Any]]) -> Reading:
    for seqmap in sorted((folder / "seqmaps").glob("*.txt")):
        sequences = seqmap.read_text().split()[1:]
        if not sequences:
            continue
        root = folder / seqmap.stem
        made = dataset(
            {
                "GT_FOLDER": str(root), "TRACKERS_FOLDER": str(root), "TRACKERS_TO_EVAL": [],
                "SEQMAP_FILE": str(seqmap), "SKIP_SPLIT_FOL": True, "PRINT_CONFIG": False,
            }
        )  # fmt: skip
        for name in sequences:
            labels = (root / name / "gt" / "labels.txt").read_text("utf-8").split("\n")
            raw = made._load_raw_file("", name, is_gt=True)
            rows = zip(raw["gt_ids"], raw["gt_classes"], raw["gt_dets"], strict=True)
            for number, (ids, classes, shapes) in enumerate(rows, start=1):
                yield (
                    f"{seqmap.stem}/{name}/img1/{number:06d}.jpg",
                    [
                        Found(labels[int(c) - 1], track=int(i), **shaped(s))
                        for i, c, s in zip(ids, classes, shapes, strict=True)
                    ],
                )


def _davis(folder: Path) -> Reading:
    """As readers of DAVIS do: an array of an image, and its numbers but 0."""
    with (folder / "objects.csv").open(encoding="utf-8", newline="") as file:
        named = {(r["video"], int(r["object"])): r for r in csv.DictReader(file)}
    for listed in sorted((folder / "ImageSets" / "2017").glob("*.txt")):
        for video in listed.read_text().split():
            for path in sorted((folder / "Annotations" / "480p" / video).glob("*.png")):
                plane = np.array(PilImage.open(path).convert("P"))
                numbers = [int(n) for n in np.unique(plane) if n]
                yield (
                    f"{video}/{path.stem}.jpg",
                    [
                        Found(
                            named[video, n]["class"],
                            mask=_rle(plane == n),
                            track=int(named[video, n]["track_id"]),
                        )
                        for n in numbers
                    ],
                )


def _voc(folder: Path) -> Reading:
    from torchvision.datasets import VOCDetection

    for listed in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        for stem in listed.read_text().split():
            root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
            said = VOCDetection.parse_voc_xml(root)["annotation"]
            plane = np.array(PilImage.open(folder / "SegmentationObject" / f"{stem}.png"))
            found = []
            for number, thing in enumerate(said["object"], start=1):
                x0, y0, x1, y1 = (int(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax"))
                box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
                inside = plane == number
                mask = _rle(inside) if inside.any() else None
                found.append(Found(_class(thing), box, mask))
            yield said["filename"], found


def _class(thing: Mapping[str, Any]) -> str:
    """Of an object of VOC: its name, unless an attribute says what that stands for."""
    listed = thing["attributes"]["attribute"]
    said = {a["name"]: a["value"] for a in listed}
    return str(said.get("class", thing["name"]))


def _kitti(folder: Path) -> Reading:
    from torchvision.datasets import Kitti

    class Here(Kitti):  # type: ignore[misc]
        """Of a folder that is not below Kitti/raw/."""

        _raw_folder = property(lambda self: self.root)

    with (folder / "classes.csv").open(encoding="utf-8", newline="") as file:
        names = {row["type"]: row["class"] for row in csv.DictReader(file)}
    for split in sorted(p.parent for p in folder.glob("*/label_2")):
        Here._location = split.name
        here = Here.__new__(Here)
        here.images, here.targets, here.root = [], [], str(folder)
        for image in sorted((split / "image_2").iterdir()):
            here.targets = [str(split / "label_2" / f"{image.name.split('.')[0]}.txt")]
            yield (
                f"{split.name}/image_2/{image.name}",
                [Found(names[t["type"]], _xywh(t["bbox"])) for t in here._parse_target(0)],
            )


def _yolo(folder: Path, task: str) -> Reading:
    """In a process of its own: Ultralytics replaces functions of PIL and torch."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield from process.submit(_ultralytics, folder, task).result()


def _ultralytics(folder: Path, task: str) -> list[tuple[str, list[Found]]]:
    with TemporaryDirectory() as config:
        os.environ |= {
            "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": config,
            "YOLO_VERBOSE": "false",
        }  # fmt: skip
        return list(_with_ultralytics(folder, task))


def _with_ultralytics(folder: Path, task: str) -> Reading:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    places = dict.fromkeys(data[k] for k in ("train", "val", "test") if data.get(k))
    for place in places:
        dataset = YOLODataset(img_path=place, data=data, task=task, augment=False, imgsz=64)
        for label in dataset.labels:
            h, w = label["shape"]
            segments = label["segments"] if task == "segment" else [None] * len(label["bboxes"])
            rows = zip(label["cls"].ravel(), label["bboxes"], segments, strict=True)
            yield (
                Path(label["im_file"]).relative_to(folder / "images").as_posix(),
                [
                    Found(
                        data["names"][int(c)],
                        [(x - bw / 2) * w, (y - bh / 2) * h, bw * w, bh * h],
                        None
                        if s is None
                        else _rle(polygon2mask((h, w), [(s * [w, h]).ravel()]).astype(bool)),
                    )
                    for c, (x, y, bw, bh), s in rows
                ],
            )
        for cache in (folder / "labels").rglob("*.cache"):
            cache.unlink()


def _labelme(folder: Path) -> Reading:
    from labelme import utils

    for path in sorted(folder.rglob("*.json")):
        said = json.loads(path.read_text())
        size_hw = said["imageHeight"], said["imageWidth"]
        parts: dict[tuple[int, str], npt.NDArray[np.bool_]] = {}
        for shape in said["shapes"]:
            key = shape["group_id"], shape["label"]
            whole = parts.setdefault(key, np.zeros(size_hw, bool))
            if shape["shape_type"] == "mask":
                (x, y), (x1, y1) = np.array(shape["points"], int)
                png = utils.img_b64_to_arr(shape["mask"]).astype(bool)
                whole[y : y1 + 1, x : x1 + 1] |= png
            else:
                whole |= utils.shape_to_mask(size_hw, shape["points"], shape["shape_type"])
        name = path.with_name(said["imagePath"]).relative_to(folder).as_posix()
        yield name, [Found(label, mask=_rle(m), track=g) for (g, label), m in parts.items()]


def _label_studio(folder: Path) -> Reading:
    from label_studio_sdk.converter.brush import decode_rle

    for task in json.loads((folder / "tasks.json").read_text()):
        found = []
        for region in task["predictions"][0]["result"]:
            h, w = region["original_height"], region["original_width"]
            if region["type"] == "brushlabels":
                values = decode_rle(region["value"]["rle"]).reshape(h, w, 4)[:, :, 3]
                found.append(Found(region["value"]["brushlabels"][0], mask=_rle(values > 0)))
            else:
                points = np.array(region["value"]["points"]) * [w / 100, h / 100]
                mask = cv2.fillPoly(np.zeros((h, w), np.uint8), [points.astype(np.int32)], [1])
                name = region["value"]["polygonlabels"][0]
                found.append(Found(name, mask=_rle(mask.astype(bool))))
        url = unquote(task["data"]["image"])
        yield url.partition("images/")[2], found


def _huggingface(folder: Path) -> Reading:
    from datasets import Image, load_dataset

    with TemporaryDirectory() as cache:
        sets = load_dataset(str(folder), cache_dir=cache)
        files = [rows.cast_column("image", Image(decode=False)) for rows in sets.values()]
        for row in chain.from_iterable(files):
            h, w = row["height"], row["width"]
            said = row["objects"]
            name = Path(row["image"]["path"]).relative_to(folder / "data").as_posix()
            yield name, [
                Found(said["name"][n], box, {"size": [h, w], "counts": said["segmentation"][n]},
                      said["track_id"][n])
                for n, box in enumerate(said["bbox"])
            ]  # fmt: skip


def _webdataset(folder: Path) -> Reading:
    import webdataset

    for tar in sorted(folder.glob("*.tar")):
        split = tar.stem.rpartition("-")[0]
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False).decode():
            suffix = next((k for k in sample if k in ("jpg", "jpeg", "png", "bmp", "webp")), "jpg")
            name = f"{split}/{sample['__key__']}.{suffix}"
            yield (
                name,
                [
                    Found(i["class"], i["bbox"], i["segmentation"], i.get("track_id"))
                    for i in sample["json"]["instances"]
                ],
            )


def _cvat(folder: Path) -> Reading:
    """As Datumaro's importer for CVAT has it: stills, and every video by itself."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    places = [folder, *(p.parent for p in sorted(folder.glob("videos/**/annotations.xml")))]
    for place in places:
        start = f"{place.relative_to(folder).as_posix()}/".removeprefix("./")
        dataset = Dataset.import_from(str(place / "annotations.xml"), "cvat")
        names = dataset.categories()[AnnotationType.label]
        for item in dataset:
            # It takes frames of a video for PNGs, whatever they are.
            h, w = picture_size(place / "images", item.id) or (0, 0)
            found = []
            for a in item.annotations:
                if a.attributes.get("outside"):
                    continue
                if a.type == AnnotationType.polygon:
                    points = np.array(a.points).reshape(-1, 2).astype(np.int32)
                    mask = cv2.fillPoly(np.zeros((h, w), np.uint8), [points], [1]).astype(bool)
                else:
                    mask = np.asarray(a.image).astype(bool)
                found.append(Found(names[a.label].name, None, _rle(mask), _number(a.attributes)))
            yield start + picture_name(place, f"images/{item.id}"), found


def _number(attributes: Mapping[str, Any]) -> int | None:
    """Datumaro has the id of a track there."""
    return int(attributes["track_id"]) if "track_id" in attributes else None


def _rle(mask_hw: npt.NDArray[np.bool_]) -> Mask:
    return {"size": list(mask_hw.shape), "counts": encode_masks(mask_hw[None])[0]}


def _xywh(box: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


READERS = {
    "coco": Reader("pycocotools", _coco),
    "coco_panoptic": Reader("pillow", _panoptic),
    "cvat": Reader("datumaro", _cvat),
    "davis": Reader("pillow", _davis),
    "huggingface": Reader("datasets", _huggingface),
    "kitti": Reader("torchvision", _kitti),
    "label_studio": Reader("label-studio-sdk", _label_studio),
    "labelme": Reader("labelme", _labelme),
    "lvis": Reader("lvis", _lvis),
    "mot": Reader("trackeval", _mot),
    "mots": Reader("trackeval", _mots),
    "voc": Reader("torchvision", _voc),
    "webdataset": Reader("webdataset", _webdataset),
    "yolo": Reader("ultralytics", lambda folder: _yolo(folder, "detect")),
    "yolo_obb": Reader("ultralytics", lambda folder: _yolo(folder, "obb")),
    "yolo_seg": Reader("ultralytics", lambda folder: _yolo(folder, "segment")),
    "ytvis": Reader("pycocotools", _cocovid),
}
