"""The demo dataset: generated stills and clips on disk, with exact ground truth beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image as PilImage

from annotate.data import geometry
from annotate.errors import ConfigError, StorageError
from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import COLOURS, SHAPES, TRAIN_COMBOS

STILLS = 24
CLIPS = 4
CLIP_FRAMES = 48
CLIP_FPS = 24
STILL_SIZES = ((320, 240), (256, 256), (240, 320), (400, 300))  # width, height, px
CLIP_SIZE = (320, 240)
COMBOS = TRAIN_COMBOS[::7]
FIRST_SEED = 500_000  # of the demo alone: training and its figures use other ranges


def ensure_demo(folder: Path) -> None:
    """Write the demo dataset to `folder` unless it is there; always the same bytes.

    `stills/`, `clips/`, `classes.txt`, and `truth.json`: COCO instances (RLE masks) with `frame_id`
    per image, `videos` and `track_id`.
    """
    if (folder / "truth.json").is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: is in the way of the demo, which would be generated there; move it, or set "
            "dataset.path"
        )
    try:
        _generate(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot write the demo ({error.strerror})") from error


def _generate(folder: Path) -> None:
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "stills").mkdir(parents=True)
    (unfinished / "clips").mkdir()
    truth = _Truth()
    for index in range(STILLS):
        scene = draw_still(FIRST_SEED + index, STILL_SIZES[index % len(STILL_SIZES)], combos=COMBOS)
        name = f"stills/still_{index:02d}.png"
        PilImage.fromarray(scene.image).save(unfinished / name)
        truth.add(scene, file_name=name, frame_id=name)
    for index in range(CLIPS):
        name = f"clips/clip_{index:02d}.mp4"
        clip = Clip(FIRST_SEED + index, CLIP_SIZE, combos=COMBOS)
        video_id = truth.add_video(name)
        _write_clip(unfinished / name, truth.watch(clip, name, video_id))
    (unfinished / "classes.txt").write_text(_classes_txt(truth.phrases), encoding="utf-8")
    text = json.dumps(truth.coco(), separators=(",", ":"), sort_keys=True)
    (unfinished / "truth.json").write_text(text, encoding="utf-8")
    if folder.is_dir():
        folder.rmdir()
    unfinished.rename(folder)


class _Truth:
    """Gathers scenes into one COCO instances document."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._videos: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self.phrases: set[str] = set()

    def add_video(self, name: str) -> int:
        self._videos.append({"id": len(self._videos) + 1, "name": name})
        return len(self._videos)

    def watch(self, clip: Clip, name: str, video_id: int) -> Iterator[np.ndarray]:
        """The frames of a clip; each is entered as it passes."""
        for t in range(CLIP_FRAMES):
            scene = clip.frame(t)
            frame_id = f"{name}#{t:06d}"
            self.add(scene, file_name=frame_id, frame_id=frame_id, video=(video_id, t))
            yield scene.image

    def add(
        self, scene: Scene, *, file_name: str, frame_id: str, video: tuple[int, int] | None = None
    ) -> None:
        image = {
            "id": len(self._images) + 1,
            "file_name": file_name,
            "frame_id": frame_id,
            "height": scene.image.shape[0],
            "width": scene.image.shape[1],
        }
        if video:
            image |= {"video_id": video[0], "frame_index": video[1]}
        self._images.append(image)
        for shown in scene.objects:
            x0, y0, x1, y1 = shown.box_xyxy
            self.phrases.add(shown.phrase)
            annotation = {
                "id": len(self._annotations) + 1,
                "image_id": image["id"],
                "category": shown.phrase,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": shown.area,
                "iscrowd": 0,
                "segmentation": {
                    "size": list(scene.image.shape[:2]),
                    "counts": geometry.encode_masks(shown.mask[None])[0],
                },
            }
            if video:
                annotation["track_id"] = shown.track_id
            self._annotations.append(annotation)

    def coco(self) -> dict[str, Any]:
        ids = {name: i for i, name in enumerate(_in_order(self.phrases), 1)}
        annotations = [
            {**{k: v for k, v in a.items() if k != "category"}, "category_id": ids[a["category"]]}
            for a in self._annotations
        ]
        return {
            "images": self._images,
            "videos": self._videos,
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for name, i in ids.items()],
        }


def _in_order(phrases: set[str]) -> list[str]:
    return [p for c in COLOURS for s in SHAPES if (p := f"{c} {s}") in phrases]


def _classes_txt(phrases: set[str]) -> str:
    lines = ["# One class per line. `name: phrase one, phrase two` gives a class several phrases."]
    return "\n".join([*lines, *_in_order(phrases)]) + "\n"


def _write_clip(path: Path, frames: Iterator[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS)
        stream.width, stream.height = CLIP_SIZE
        stream.pix_fmt = "yuv420p"
        # With several threads, or with x264's macroblock tree, the bytes would vary.
        stream.options = {"crf": "12", "threads": "1", "x264-params": "mbtree=0"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
