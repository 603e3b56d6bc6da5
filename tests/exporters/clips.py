"""Runs of videos to export, rendered for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from annotate.data.geometry import encode_masks
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.video_writer import VideoWriter
from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from tests.exporters.runs import record

W, H, FRAMES = 96, 64, 12
CLASSES = ClassList((ClassSpec("thing", ("thing",)), ClassSpec("other", ("other",))))


def scenes(seed: int, frames: int = FRAMES) -> list[Scene]:
    clip = Clip(seed, (W, H))
    return [clip.frame(t) for t in range(frames)]


def write_clip(path: Path, shown: Sequence[Scene]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, size_wh=(W, H), fps=25) as writer:
        for t, scene in enumerate(shown):
            writer.add(scene.image, t / 25)


def frame_record(item: str, index: int, scene: Scene, **fields: Any) -> FrameRecord:
    frame_id = f"{item}#{index:06d}"
    instances = tuple(
        Instance(
            instance_id=f"{frame_id}/{shown.track_id}",
            class_id=shown.track_id % 2,
            phrase="thing",
            score=0.5,
            box_xyxy=tuple(float(v) for v in shown.box_xyxy),
            mask=Rle(encode_masks(shown.mask[None])[0], (H, W)),
            area=shown.area,
            mask_score=0.75,
            track_id=shown.track_id,
        )
        for shown in scene.objects
    )
    known = {"width": W, "height": H, "status": "ok"} | fields
    return FrameRecord(frame_id, item, "video", index, index / 25, **known, instances=instances)


def make_clips_run(folder: Path, clips: dict[str, list[Scene]], stride: int = 1) -> Run:
    """A run of videos, of a still where all of them lie, and of nothing else."""
    run = Run(path=folder / "run", root=folder / "data", classes=CLASSES)
    rows = [record("clips/still.jpg", width=W, height=H)]
    for item, shown in clips.items():
        write_clip(run.root / item, shown)
        rows += [frame_record(item, t, scene) for t, scene in enumerate(shown) if t % stride == 0]
    (run.root / "clips").mkdir(parents=True, exist_ok=True)
    PilImage.new("RGB", (W, H)).save(run.root / "clips/still.jpg")
    parquet.write_part(run.records_dir, "part-0", rows)
    return run


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def off_by(path: Path, scene: Scene) -> float:
    with PilImage.open(path) as staged:
        assert staged.format == ("PNG" if path.suffix == ".png" else "JPEG")
        return float(np.abs(np.asarray(staged).astype(int) - scene.image).mean())
