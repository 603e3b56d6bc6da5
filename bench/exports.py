"""Exports of one set of instances by this package, by FiftyOne and by supervision.

Ours reads the run's records, as users' exports do, and writes whole masks with their holes; theirs
get the masks in memory in the form that each wants, which is not counted: FiftyOne bitmaps of the
box, supervision bitmaps of the picture.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.record import parquet
from annotate.record.run_folder import Run
from bench.table import Cell, Options, Table
from bench.turns import forget_peaks, peaks, peaks_mb, slope
from exporters.base import Exporter

SIZES = {"640x480": (480, 640), "1920x1080": (1080, 1920)}
PER_PICTURE = 10
COMPARED = 1_000  # instances that all three write, twice as many with --full
GROWTH = (1_000, 10_000, 100_000)


def measure(options: Options) -> Iterator[Table]:
    """Seconds of processor time for a million instances, and how they and memory grow."""
    grown = _grown(GROWTH[: 1 if options.quick else 2 + options.full])  # before the others load
    rows: list[list[Cell]] = []
    compared = 50 if options.quick else COMPARED * (1 + options.full)
    for size, size_hw in SIZES.items():
        shapes = list(_shapes(size_hw))
        with TemporaryDirectory() as folder:
            for way, write in _ways(Path(folder), shapes, compared).items():
                taken = _spent(write)
                rows.append([size, way, 1e6 * taken / compared])
    yield Table(
        "Exports: this package, FiftyOne, supervision",
        f"Seconds of processor time for 1,000,000 instances, of {compared:,} written. FiftyOne's "
        "database is a process of its own, and not counted. Targets: 100 s for COCO and 120 s for "
        "YOLO-seg at 640x480, at most 1.3 times that at 1080p.",
        ("pictures", "way", "s a million"),
        rows,
    )
    yield from grown


def _grown(counts: Sequence[int]) -> list[Table]:
    rows: list[list[Cell]] = []
    slopes: list[list[Cell]] = []
    shapes = list(_shapes(SIZES["640x480"]))
    for name in ("coco", "yolo_seg"):
        spent, most = [], []
        for count in counts:
            with TemporaryDirectory() as folder:
                write = _export(_run(Path(folder), shapes, count), name)
                forget_peaks("cpu")
                spent.append(_spent(write))
                most += peaks_mb("cpu")
            rows.append([name, count, spent[-1], 1e6 * spent[-1] / count, most[-1]])
        if len(counts) > 1:
            slopes.append([name, slope(counts, spent), slope(counts, most)])
    tables = [
        Table(
            "Exports: growth",
            "Processor time by the number of instances, 640x480.",
            ("format", "instances", "s", "s a million", *peaks("cpu")),
            rows,
        )
    ]
    if slopes:
        tables.append(
            Table(
                "Exports: slopes",
                "The power by which they grow with instances: 1 is linear, 0 flat.",
                ("format", "time", "peak RAM"),
                slopes,
            )
        )
    return tables


def _spent(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _shapes(size_hw: tuple[int, int]) -> Iterator[tuple[Any, Instance]]:
    """Fifty blobs with wavy edges, every fifth with a hole; 2 % of the picture on average."""
    rng = np.random.default_rng(0)
    h, w = size_hw
    for number in range(50):
        mask = np.zeros(size_hw, np.uint8)
        radius = np.sqrt(0.02 * h * w / np.pi) * rng.uniform(0.6, 1.4)
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        wave = np.zeros_like(angle)
        for k in range(2, 6):
            wave += rng.uniform(0, 0.12) * np.sin(k * angle + rng.uniform(0, 6))
        x = rng.uniform(0.25, 0.75) * w + radius * (1 + wave) * np.cos(angle)
        y = rng.uniform(0.25, 0.75) * h + radius * (1 + wave) * np.sin(angle)
        cv2.fillPoly(mask, [np.stack([x, y], 1).astype(np.int32)], 1)
        if number % 5 == 0:
            centre = int(x.mean()), int(y.mean())
            cv2.circle(mask, centre, int(radius / 4), 0, -1)
        filled = mask.astype(bool)
        box = tuple(map(float, mask_boxes(filled[None])[0]))
        rle = Rle(encode_masks(filled[None])[0], size_hw)
        area = int(filled.sum())
        yield filled, Instance("", 0, "thing", 0.5, box, rle, area, 0.7)  # type: ignore[arg-type]


def _run(folder: Path, shapes: list[tuple[Any, Instance]], instances: int) -> Run:
    run = Run(folder / "run", folder / "data", ClassList((ClassSpec("thing", ("thing",)),)))
    h, w = shapes[0][1].mask.size_hw
    with parquet.PartWriter(run.records_dir, "part-0") as part:
        for number in range(instances // PER_PICTURE):
            name = f"{number:07d}.jpg"
            held = []
            for k in range(PER_PICTURE):
                like = shapes[(number + k) % len(shapes)][1]
                held.append(
                    Instance(f"{name}:{k}", 0, like.phrase, like.score, like.box_xyxy, like.mask,
                             like.area, like.mask_score)
                )  # fmt: skip
            part.add(FrameRecord(name, name, "image", 0, 0.0, w, h, "ok", "", tuple(held)))
    return run


def _export(run: Run, name: str) -> Callable[[], object]:
    """Writes a format; settings are read before, for they take as long as 300 instances."""
    asked = compose(["dataset=.", "prompts=[thing]", "export.media=none"], "config")
    settings = typed(asked, AnnotateCommand)
    exporter = settings.formats[name].make(Exporter)
    return lambda: exporter.export(run, name, threshold=0.0, only="all", settings=settings.export)


def _ways(
    folder: Path, shapes: list[tuple[Any, Instance]], count: int
) -> dict[str, Callable[[], object]]:
    run = _run(folder, shapes, count)
    ways: dict[str, Callable[[], object]] = {
        "annotate, COCO polygons": _export(run, "coco"),
        "annotate, YOLO-seg": _export(run, "yolo_seg"),
    }
    pictures = folder / "pictures"
    pictures.mkdir()
    h, w = shapes[0][1].mask.size_hw
    names = [str(pictures / f"{n:07d}.jpg") for n in range(count // PER_PICTURE)]
    cv2.imwrite(names[0], np.zeros((h, w, 3), np.uint8))
    for name in names[1:]:
        shutil.copyfile(names[0], name)
    held = {
        name: [shapes[(n + k) % len(shapes)] for k in range(PER_PICTURE)]
        for n, name in enumerate(names)
    }
    return ways | _of_supervision(folder, held) | _of_fiftyone(folder, held)


def _of_supervision(folder: Path, held: dict[str, Any]) -> dict[str, Callable[[], object]]:
    import supervision as sv

    def detections(of_picture: Any) -> Any:
        return sv.Detections(
            xyxy=np.array([instance.box_xyxy for _, instance in of_picture]),
            mask=np.stack([mask for mask, _ in of_picture]),
            class_id=np.zeros(len(of_picture), int),
        )

    dataset = sv.DetectionDataset(
        ["thing"], list(held), {name: detections(some) for name, some in held.items()}
    )
    return {
        "supervision, COCO": lambda: dataset.as_coco(
            annotations_path=str(folder / "supervision.json")
        ),
        "supervision, YOLO": lambda: dataset.as_yolo(
            annotations_directory_path=str(folder / "supervision")
        ),
    }


def _of_fiftyone(folder: Path, held: dict[str, Any]) -> dict[str, Callable[[], object]]:
    from annotate.store.fiftyone_database import connect

    connect()
    import fiftyone as fo

    samples = []
    for name, of_picture in held.items():
        h, w = of_picture[0][1].mask.size_hw
        found = []
        for mask, instance in of_picture:
            x0, y0, x1, y1 = (int(v) for v in instance.box_xyxy)
            box = [x0 / w, y0 / h, (x1 - x0) / w, (y1 - y0) / h]
            found.append(fo.Detection(label="thing", bounding_box=box, mask=mask[y0:y1, x0:x1]))
        sample = fo.Sample(filepath=name, metadata=fo.ImageMetadata(width=w, height=h))
        sample["found"] = fo.Detections(detections=found)
        samples.append(sample)
    dataset = fo.Dataset("bench-exports", overwrite=True)
    dataset.add_samples(samples, progress=False)

    def export(kind: Any, where: dict[str, str], **options: Any) -> Callable[[], object]:
        return lambda: dataset.export(
            **where, dataset_type=kind, label_field="found", export_media=False, progress=False,
            **options,
        )  # fmt: skip

    to_json, to_folder = str(folder / "fiftyone.json"), str(folder / "fiftyone")
    coco, yolo = fo.types.COCODetectionDataset, fo.types.YOLOv5Dataset
    return {
        "FiftyOne, COCO": export(coco, {"labels_path": to_json}, tolerance=1),
        "FiftyOne, YOLO": export(
            yolo, {"export_dir": to_folder}, classes=["thing"], use_masks=True, tolerance=1
        ),
    }
