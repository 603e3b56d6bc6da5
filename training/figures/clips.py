"""The segmenter's masks through whole clips."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from training.figures.predictors import MIN_SHARE, mask_ious, video_predictor
from training.figures.table import CLIP_FRAMES, Table

CLIP_SIZES: Final = ((256, 256), (320, 240), (240, 320), (256, 256), (384, 216))
_RECOVERY_FRAMES: Final = 5
_OBJECTS_PER_CLIP: Final = 4


@dataclass(slots=True)
class TrackRow:
    """What became of one object of one clip."""

    visible: list[float] = field(default_factory=list)  # IoU of the frames that show it
    drawn_when_gone: list[bool] = field(default_factory=list)
    recovered: list[bool] = field(default_factory=list)  # each time it came back whole
    hidden: bool = False  # more than a tenth of it, in some frame


def measure_clips(folder: Path, clips: int, seeds: range) -> list[str]:
    """Whole clips through sam2's video predictor, prompted on the first frame only."""
    table = Table((f"segmenter, clips of {CLIP_FRAMES} frames", "value", "n"))
    predictor = video_predictor(folder)
    rows: dict[str, list[TrackRow]] = {"mask": [], "box": []}
    begun, frames = time.perf_counter(), 0
    for number in range(clips):
        clip = Clip(
            seeds[90_000 + number],
            CLIP_SIZES[number % len(CLIP_SIZES)],
            objects=2 + number % 5,
            occluder=number % 3 == 0,
        )
        scenes = [clip.frame(t) for t in range(CLIP_FRAMES)]
        rows["mask"] += _follow(predictor, scenes, "mask")
        frames += CLIP_FRAMES
        if number % 3 == 1:  # boxes tell little more, at the same price
            rows["box"] += _follow(predictor, scenes, "box")
            frames += CLIP_FRAMES
    ms = (time.perf_counter() - begun) / frames * 1000
    for prompt, found in rows.items():
        table.add(f"J, {prompt} on frame 0", *_mean([x for r in found for x in r.visible]))
    found = rows["mask"]
    clear = [x for r in found if not r.hidden for x in r.visible]
    table.add("J, mask, never hidden", *_mean(clear))
    for t in (1, 8, 16, 32, CLIP_FRAMES - 1):
        at_t = [r.visible[t - 1] for r in found if len(r.visible) == CLIP_FRAMES - 1]
        table.add(f"J, mask, frame {t}, objects in sight all along", *_mean(at_t))
    gone = [float(x) for r in found for x in r.drawn_when_gone]
    table.add("mask drawn although the object is gone", *_mean(gone))
    back = [float(x) for r in found for x in r.recovered]
    table.add(f"found again within {_RECOVERY_FRAMES} frames of its return", *_mean(back))
    print(f"\n{ms:.0f} ms a frame for up to {_OBJECTS_PER_CLIP} objects\n")
    return table.lines


def _mean(values: list[float]) -> tuple[float, int]:
    return float(np.mean(values)) if values else float("nan"), len(values)


def _follow(predictor: Any, scenes: Sequence[Scene], prompt: str) -> list[TrackRow]:
    height, width = scenes[0].image.shape[:2]
    first = [o for o in scenes[0].objects if o.area >= MIN_SHARE * height * width]
    first = first[:_OBJECTS_PER_CLIP]
    rows = {item.track_id: TrackRow() for item in first}
    if not first:
        return []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        for t, scene in enumerate(scenes):
            cv2.imwrite(f"{folder}/{t:05d}.jpg", scene.image[..., ::-1])
        state = predictor.init_state(folder)
        for item in first:
            if prompt == "mask":
                predictor.add_new_mask(state, 0, item.track_id, item.mask)
            else:
                box = np.array(item.box_xyxy, np.float32)
                predictor.add_new_points_or_box(state, 0, item.track_id, box=box)
        overlaps: dict[int, list[float | None]] = defaultdict(list)  # None: not in the frame
        for t, ids, logits in predictor.propagate_in_video(state):
            if t == 0:
                continue
            truth = {o.track_id: o for o in scenes[t].objects}
            for track_id, mask in zip(ids, (logits[:, 0] > 0).numpy(), strict=True):
                row = rows[track_id]
                if track_id not in truth:
                    row.drawn_when_gone.append(bool(mask.sum() > 20))
                    overlaps[track_id].append(None)
                    continue
                item = truth[track_id]
                overlaps[track_id] += mask_ious(mask[None], item.mask[None])
                row.hidden |= item.area < 0.9 * item.full_area
    for track_id, seen in overlaps.items():
        rows[track_id].visible = [iou for iou in seen if iou is not None]
        rows[track_id].recovered = list(_returns(seen))
    return list(rows.values())


def _returns(ious: Sequence[float | None]) -> Iterator[bool]:
    """For every return after an absence: does a mask fit (IoU 0.5) within the first frames?

    Returns that last less long, or too near the clip's end, do not count.
    """
    for t in range(1, len(ious) - _RECOVERY_FRAMES + 1):
        after = [iou for iou in ious[t : t + _RECOVERY_FRAMES] if iou is not None]
        if ious[t - 1] is None and len(after) == _RECOVERY_FRAMES:
            yield max(after) >= 0.5
