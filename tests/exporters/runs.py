"""Runs of stills to export, exports of one format, and what is read back from them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import yaml
from PIL import Image as PilImage
from pydantic import TypeAdapter, ValidationError

from annotate.config.schema import checked
from annotate.config.settings import ExportSettings
from annotate.config.shipped import conf_dir
from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.record import parquet
from annotate.record.run_folder import Run
from exporters.base import Exporter, ExportSummary
from tests.exporters.shapes import SHAPES, H, W

CLASSES = ClassList(
    (ClassSpec("Fußgänger", ("person",)), ClassSpec("red car", ("red car", "auto")))
)
NASTY_NAMES = [
    "a.jpg",
    "a.png",
    "A.jpg",
    "a_jpg.jpg",
    "no dot.d/b.jpg",
    "b.JPG",
    "with space/ä ö/日本 語.png",
    "images/c.jpg",
    "x/images/images/c.jpg",
    "images_/c.jpg",
    "labels/images.jpg",
    "images.jpg",
    "e.txt/f.jpg",
    "e.jpg",
    "line\nbreak.jpg",
    "g.tar.gz.webp",
    "moving.gif",
    "h.bmp",
    "k" * 251 + ".jpg",
    "k" * 251 + ".png",
    "cafe\u0301.jpg",
    "caf\u00e9.jpg",
    "#1%20;'\".jpg",
]


def instance(
    mask: np.ndarray, name: str, class_id: int = 0, score: float = 0.75, phrase: str = "person"
) -> Instance:
    return Instance(
        instance_id=name,
        class_id=class_id,
        phrase=phrase,
        score=float(np.float32(score)),
        box_xyxy=tuple(float(v) for v in mask_boxes(mask[None])[0]),
        mask=Rle(encode_masks(mask[None])[0], mask.shape),
        area=int(mask.sum()),
        mask_score=float(np.float32(0.9)),
    )


def record(item: str, instances: Sequence[Instance] = (), **fields: Any) -> FrameRecord:
    known = {"width": W, "height": H, "status": "ok"} | fields
    return FrameRecord(item, item, "image", 0, 0.0, **known, instances=tuple(instances))


def picture(path: Path, size_wh: tuple[int, int] = (W, H), **saving: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    pixels = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((size_wh[1] // 4 + 1, 40, 1)))
    image = PilImage.fromarray(pixels[: size_wh[1], : size_wh[0]].astype(np.uint8))
    image.resize(size_wh).save(path, **saving)


def make_run(folder: Path, rows: Sequence[FrameRecord], classes: ClassList = CLASSES) -> Run:
    run = Run(path=folder / "run", root=folder / "data", classes=classes)
    run.root.mkdir(exist_ok=True)
    parquet.write_part(run.records_dir, "part-0", rows)
    for row in rows:
        if row.status == "ok":
            picture(run.root / row.item, (row.width, row.height))
    return run


FORMATS = sorted(p.stem for p in (conf_dir() / "format").glob("*.yaml"))


def exporter(name: str, **options: Any) -> Exporter:
    """A format as its config has it, but for these options, as far as it has them."""
    node = yaml.safe_load((conf_dir() / "format" / f"{name}.yaml").read_text(encoding="utf-8"))
    module, _, called = node.pop("_target_").rpartition(".")
    asked = {"tolerance": 0.5} | options
    made: Exporter = getattr(import_module(module), called)(
        **{key: asked.get(key, value) for key, value in node.items()}
    )
    return made


def plain(item: str) -> str:
    """A still's name in formats with portable names, if there is no other like it."""
    stem, dot, suffix = item.rpartition(".")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem) + dot + suffix


def pictures_of(folder: Path) -> dict[str, str]:
    """The frame that each picture of an export is, by its name."""
    lines = (folder / "pictures.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["picture"]: row["frame_id"] for row in map(json.loads, lines)}


def refusals(format_class: type[Exporter], **options: Any) -> dict[str, str]:
    """What the annotations of a format say against values of its options, by option."""
    types = get_type_hints(format_class.__init__, include_extras=True)
    said = {}
    for option, value in options.items():
        try:
            TypeAdapter(types[option]).validate_python(value)
        except ValidationError as refused:
            (error,) = refused.errors()
            said[option] = error["msg"]
    return said


def settings(**changed: Any) -> ExportSettings:
    asked = {
        "formats": ["coco", "yolo_seg"],
        "split": None,
        "split_seed": 0,
        "frames_stride": 1,
        "media": "link",
    }
    return checked(ExportSettings, asked | changed, "export")


def export_one(
    run: Run,
    name: str,
    *,
    threshold: float = 0.3,
    only: str = "all",
    **changed: Any,
) -> ExportSummary:
    """Export in one format; `changed` are settings, or options of the format, not as usual."""
    shared = {f.name for f in fields(ExportSettings)}
    options = {k: v for k, v in changed.items() if k not in shared}
    asked = settings(**{k: v for k, v in changed.items() if k in shared})
    return exporter(name, **options).export(
        run, name, threshold=threshold, only=only, settings=asked
    )


def export_both(run: Run, **changed: Any) -> None:
    for name in ("coco", "yolo_seg"):
        export_one(run, name, **changed)


def shape_records() -> list[FrameRecord]:
    """One picture per shape, each with two objects, and one picture without any."""
    square = np.zeros((H, W), bool)
    square[40:80, 50:100] = True
    rows = [
        record(
            f"{n:02d} {name}.jpg",
            [
                instance(mask, f"{name}-0", 0, 0.9),
                instance(square, f"{name}-1", 1, 0.4, phrase="auto"),
            ],
        )
        for n, (name, mask) in enumerate(SHAPES.items())
    ]
    return [*rows, record("empty.jpg")]


COCO = "annotations/instances_default.json"


def frame_ids(document: dict[str, Any]) -> dict[int, str]:
    """The frame that each image of a COCO document is, by its id."""
    videos = {v["id"]: v["name"] for v in document.get("videos", ())}
    return {
        i["id"]: f"{videos[i['video_id']]}#{i['frame_index']:06d}"
        if "video_id" in i
        else i["source"]
        for i in document["images"]
    }


def read_coco(path: Path) -> dict[str, list[Instance]]:
    """Instances by frame_id from an export with RLE masks."""
    document = json.loads(path.read_text(encoding="utf-8"))
    frames = {i["id"]: i for i in document["images"]}
    ids = frame_ids(document)
    found: dict[str, list[Instance]] = {frame_id: [] for frame_id in ids.values()}
    for a in document["annotations"]:
        x, y, w, h = a["bbox"]
        size_hw = (a["segmentation"]["size"][0], a["segmentation"]["size"][1])
        assert size_hw == (frames[a["image_id"]]["height"], frames[a["image_id"]]["width"])
        found[ids[a["image_id"]]].append(
            Instance(
                instance_id=a["attributes"]["instance"],
                class_id=a["category_id"] - 1,
                phrase=a["phrase"],
                score=a["score"],
                box_xyxy=(x, y, x + w, y + h),
                mask=Rle(a["segmentation"]["counts"], size_hw),
                area=a["area"],
                mask_score=a["mask_score"],
            )
        )
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
