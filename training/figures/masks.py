"""The segmenter's masks of single pictures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.random import Generator

from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from training.figures.predictors import MIN_SHARE, BoolArray, image_predictor, mask_ious
from training.figures.table import CLIP_FRAMES, OBLONG, SQUARE, Table
from training.segmenter_prompts import SIDE

# Root of a mask's area, px of the squashed picture. SAM 2 draws masks at a quarter of its size.
_SIDES: Final = (
    ("below 16 px", 0.0, 16.0),
    ("16 to 40 px", 16.0, 40.0),
    ("above 40 px", 40.0, 1e9),
)


def measure_masks(folder: Path, stills: int, seeds: range) -> list[str]:
    """Still pictures through sam2's image predictor, IoU at the size of the picture."""
    predictor = image_predictor(folder)
    sources: dict[str, Callable[[int, tuple[int, int]], Scene]] = {
        "stills": lambda seed, size_wh: draw_still(seed, size_wh),
        "clip frames": lambda seed, size_wh: Clip(seed, size_wh).frame(seed % CLIP_FRAMES),
    }
    found: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    sizes = SQUARE + OBLONG
    for number in range(stills):
        source = "stills" if number % 2 == 0 else "clip frames"
        seed = seeds[80_000 + number]
        scene = sources[source](seed, sizes[number % len(sizes)])
        least = MIN_SHARE * scene.image.shape[0] * scene.image.shape[1]
        items = [item for item in scene.objects if item.area >= least]
        if not items:
            continue
        rng = np.random.default_rng(seed)
        truth = np.stack([item.mask for item in items])
        boxes = np.array([item.box_xyxy for item in items], np.float32)
        begun = time.perf_counter()
        predictor.set_image(scene.image)
        seconds["encoder"] += time.perf_counter() - begun
        begun = time.perf_counter()
        ious = mask_ious(_masks(predictor, box=boxes), truth)
        seconds["boxes"] += time.perf_counter() - begun
        found["box, all scenes"] += ious
        found[f"box, {source}"] += ious
        share = truth.mean((1, 2))
        for name, low, high in _SIDES:
            within = (share >= (low / SIDE) ** 2) & (share < (high / SIDE) ** 2)
            found[f"box, {name}"] += [iou for iou, held in zip(ious, within, strict=True) if held]
        owner = (truth * np.arange(1, len(items) + 1)[:, None, None]).sum(0)
        for index, iou in enumerate(ious):
            x0, y0, x1, y1 = items[index].box_xyxy
            inside = owner[y0:y1, x0:x1]
            if not ((inside > 0) & (inside != index + 1)).any():
                found["box, nothing else inside"].append(iou)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        shaken = boxes + rng.uniform(-0.05, 0.05, boxes.shape) * sides
        found["box shaken by 5 %"] += mask_ious(_masks(predictor, box=shaken), truth)
        clicks = np.stack([_random_pixel(rng, mask) for mask in truth])[:, None]
        labels = np.ones((len(items), 1), np.int32)
        masks = _masks(predictor, point_coords=clicks, point_labels=labels)
        found["one point"] += mask_ious(masks, truth)
    table = Table(("segmenter, masks", "mean IoU", "objects"))
    for name in sorted(found, key=list(found).index):
        table.add(name, float(np.mean(found[name])), len(found[name]))
    count = len(found["box, all scenes"])
    per_picture, per_box = seconds["encoder"] / stills * 1000, seconds["boxes"] / count * 1000
    print(f"\nencoder {per_picture:.0f} ms a picture, {per_box:.1f} ms a box\n")
    return table.lines


def _masks(predictor: Any, **prompts: np.ndarray) -> BoolArray:
    """(k, H, W); sam2 drops the first axis for a single prompt."""
    masks, _, _ = predictor.predict(multimask_output=False, **prompts)
    return np.asarray(masks > 0).reshape(-1, *masks.shape[-2:])


def _random_pixel(rng: Generator, mask: BoolArray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    index = int(rng.integers(len(rows)))
    return np.array([columns[index], rows[index]], np.float32)
