"""A picture and a clip with instances, and what people decide about them."""

from __future__ import annotations

import numpy as np

from annotate.data.decisions import Decision
from annotate.data.geometry import encode_masks
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle

CLASSES = ClassList((ClassSpec("cat", ("cat",)), ClassSpec("dog", ("dog",))))


H, W = 40, 60


def mask(x0: int, y0: int, x1: int, y1: int) -> Rle:
    pixels = np.zeros((1, H, W), bool)
    pixels[0, y0:y1, x0:x1] = True
    return Rle(encode_masks(pixels)[0], (H, W))


def instance(name: str, box: tuple[int, int, int, int], score: float = 0.8, track: int = 0):
    area = (box[2] - box[0]) * (box[3] - box[1])
    whole = tuple(map(float, box))
    return Instance(name, 0, "cat", score, whole, mask(*box), area, 0.9, track_id=track)


def still(name: str, *instances: Instance) -> FrameRecord:
    return FrameRecord(name, name, "image", 0, 0.0, W, H, "ok", instances=instances)


def frame(index: int, *instances: Instance) -> FrameRecord:
    name = f"clip.mp4#{index:06d}"
    return FrameRecord(name, "clip.mp4", "video", index, index / 5, W, H, "ok", "", instances)


LEFT, RIGHT = (2, 2, 22, 30), (30, 5, 50, 25)


PICTURE = still("a.png", instance("a.png:0", LEFT), instance("a.png:1", RIGHT, 0.2))


def about(name: str, box: tuple[int, int, int, int] = LEFT, **said) -> Decision:
    seen = {"seen_class": "cat", "seen_box": tuple(map(float, box)), "seen_track": 0}
    place = {"frame_id": name.rpartition(":")[0], "item": name.rpartition(":")[0].split("#")[0]}
    return Decision(**{**place, "instance_id": name, **seen, **said})
