"""A run with everything that formats stumble over: names, shapes, sizes, videos, many objects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance
from annotate.record import parquet
from annotate.record.run_folder import Run
from tests.exporters.clips import FRAMES, frame_record, scenes, write_clip
from tests.exporters.runs import NASTY_NAMES, instance, picture, record
from tests.exporters.shapes import SHAPES, H, W

NAMES = [
    "a, b", '"quoted"', "it's", "key: value", "# leading hash", "yes", "null", "123", "- dash",
    "~", "[list]", "{map}", "& anchor", "* star", "| pipe", "emoji 👩‍🚒", "تصویر", "日本語",
    "C:\\path", "<b>bold</b>", "=cmd()", "Cat", "cat", "ß", "x" * 200, "trailing.", "a/b", "con",
    "red car", "red_car", "background", "é", "e\u0301",
]  # fmt: skip
CLASSES = ClassList(tuple(ClassSpec(name, (f"p{n}",)) for n, name in enumerate(NAMES)))


def awkward_run(folder: Path) -> Run:
    """Stills of all shapes and names, one with a hundred objects, one with none, two videos."""
    run = Run(path=folder / "run", root=folder / "data", classes=CLASSES)
    rows = [*_shapes(), _crowd(), *_names(), record("empty.jpg"), _small()]
    for row in rows:
        picture(run.root / row.item, (row.width, row.height))
    for seed, item in ((1, "clips/a 😀.mp4"), (2, "clips/b.mp4")):
        shown = scenes(seed)
        write_clip(run.root / item, shown)
        rows += [frame_record(item, t, scene) for t, scene in enumerate(shown)]
    parquet.write_part(run.records_dir, "part-0", rows)
    return run


def _disk(x: int, y: int, r: int) -> np.ndarray:
    return cv2.circle(np.zeros((H, W), np.uint8), (x, y), r, 1, -1).astype(bool)


def _shapes() -> list[FrameRecord]:
    return [
        record(
            f"shapes/{name}.png",
            [instance(mask, f"s{n}", n % len(NAMES)), instance(_disk(140, 100, 9), f"d{n}", 3)],
        )
        for n, (name, mask) in enumerate(SHAPES.items())
    ]


def _crowd() -> FrameRecord:
    rng = np.random.default_rng(0)
    spots = rng.integers([20, 20, 5], [W - 20, H - 20, 40], (100, 3)).tolist()
    disks = [
        instance(_disk(*s), f"c{n}", n % len(NAMES), 0.9 - n / 500) for n, s in enumerate(spots)
    ]
    return record("overlap 100.png", disks)


def _names() -> list[FrameRecord]:
    square = np.zeros((H, W), bool)
    square[40:80, 50:100] = True
    return [
        record(name, [instance(square, f"n{n}", n % len(NAMES))])
        for n, name in enumerate(NASTY_NAMES)
    ]


def _small() -> FrameRecord:
    one: list[Instance] = [instance(np.ones((12, 30), bool), "t0", 0)]
    return record("thin.png", one, width=30, height=12)


FRAMES_IN_ALL = 2 * FRAMES
