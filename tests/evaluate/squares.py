"""Records of squares, for tests that count and compare."""

import numpy as np

from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle

H, W = 60, 80
CLASSES = ClassList((ClassSpec("car", ("car",)), ClassSpec("bus", ("bus",))))


def square(x: int, y: int, side: int = 20, *, class_id: int = 0, track: int = 0) -> Instance:
    mask = np.zeros((1, H, W), bool)
    mask[0, y : y + side, x : x + side] = True
    return Instance(
        instance_id=f"{x}-{y}-{track}",
        class_id=class_id,
        phrase="car",
        score=0.8,
        box_xyxy=tuple(mask_boxes(mask)[0].tolist()),
        mask=Rle(encode_masks(mask)[0], (H, W)),
        area=int(mask.sum()),
        mask_score=0.95,
        track_id=track,
        margin=0.8,
        box_iou=0.95,
    )


def still(name: str, *instances: Instance) -> FrameRecord:
    return FrameRecord(name, name, "image", 0, 0.0, W, H, "ok", instances=instances)


def clip(*frames: list[Instance]) -> list[FrameRecord]:
    return [
        FrameRecord(f"v.mp4#{t:06d}", "v.mp4", "video", t, t / 25, W, H, "ok", instances=tuple(f))
        for t, f in enumerate(frames)
    ]
