"""Generated pictures and clips that the segmenter learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from annotate.synthetic.canvas import Scene, SceneObject
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from training.loop import model_view, normalise, scene_seed
from training.segmenter_prompts import SIDE, BoolArray, squash

# (width, height) a scene is drawn at before it is squashed.
_DRAWN: Final = ((256, 256), (256, 256), (320, 240), (240, 320), (400, 224), (224, 400), (192, 192))
_IMAGES, _PROMPTS_EACH = 8, 5
_OBJECTS_EACH: Final = 4
_GAP_ODDS, _BAR_ODDS, _ABSENCE_ODDS, _CUT_ODDS = 0.35, 0.45, 0.5, 0.1
_MIN_AREA: Final = 80  # px of the squashed picture; less is not asked for


@dataclass(frozen=True, slots=True, eq=False)
class ClipBatch:
    pixels: Tensor  # (t * b, 3, side, side), all clips of a frame next to each other
    masks_tkhw: BoolArray
    clip_of_k: Tensor  # which clip an object belongs to
    times: list[int]  # frame numbers; the first is 0 and carries the prompt


def draw_images(rng: Generator) -> tuple[Tensor, BoolArray, Tensor]:
    """Pictures (b, 3, side, side), masks (k, side, side), and which picture a mask belongs to.

    Half of the pictures are frames of clips: there, overlap knows no limit.
    """
    images, masks, owners = [], [], []
    for number in range(_IMAGES):
        scene, found = _scene_with_objects(rng)
        images.append(model_view(rng, scene.image, (SIDE, SIDE)))
        for index in rng.choice(len(found), _PROMPTS_EACH, replace=len(found) < _PROMPTS_EACH):
            masks.append(found[index])
            owners.append(number)
    return normalise(images), np.stack(masks), torch.tensor(owners)


def _scene_with_objects(rng: Generator) -> tuple[Scene, list[BoolArray]]:
    while True:
        size_wh, seed = _DRAWN[int(rng.integers(len(_DRAWN)))], scene_seed(rng)
        if rng.random() < 0.5:
            scene = draw_still(seed, size_wh, max_objects=8)
        else:
            scene = Clip(seed, size_wh).frame(int(rng.integers(0, 32)))
        masks = [squash(item.mask) for item in scene.objects]
        masks = [mask for mask in masks if mask.sum() >= _MIN_AREA]
        if masks:
            return scene, masks


def draw_clips(rng: Generator, *, clips: int, frames: int) -> ClipBatch:
    """Clips of a few frames, in a third of the batches with a gap after the first one."""
    start = int(rng.integers(2, 40)) if rng.random() < _GAP_ODDS else 1
    times = [0, *range(start, start + frames - 1)]
    images: list[list[np.ndarray]] = []
    masks: list[list[BoolArray]] = []
    owners: list[int] = []
    while len(images) < clips:
        scenes, ids = _frames_with_objects(rng, times)
        for track_id in ids:
            masks.append([_mask_of(scene, track_id) for scene in scenes])
            owners.append(len(images))
        images.append([model_view(rng, scene.image, (SIDE, SIDE)) for scene in scenes])
    pixels = normalise([image for frame in zip(*images, strict=True) for image in frame])
    return ClipBatch(pixels, np.array(masks).swapaxes(0, 1), torch.tensor(owners), times)


def _frames_with_objects(rng: Generator, times: Sequence[int]) -> tuple[list[Scene], list[int]]:
    """Frames of a clip and the tracks to ask for, all of them in the first frame.

    Left to chance an object is gone from one frame in two hundred, too few to learn to let go: so
    some are taken out for a while, and some clips end in a cut.
    """
    size_wh = _DRAWN[int(rng.integers(len(_DRAWN)))]
    # Slow and fast motion; slower in batches with a gap, which cover more time.
    pace = float(rng.choice((0.6, 1.0, 1.6, 3.0) if times[1] == 1 else (0.3, 0.6, 1.0, 1.6)))
    while True:
        clip = Clip(scene_seed(rng), size_wh, occluder=bool(rng.random() < _BAR_ODDS))
        first = clip.frame(0)
        ids = [o.track_id for o in first.objects if squash(o.mask).sum() >= _MIN_AREA]
        if not ids:
            continue
        rng.shuffle(ids)
        ids = ids[:_OBJECTS_EACH]
        away = {i: _absence(rng, len(times)) for i in ids if rng.random() < _ABSENCE_ODDS}
        cut = int(rng.integers(1, len(times))) if rng.random() < _CUT_ODDS else len(times)
        scenes = [first]
        for index, time in enumerate(times[1:], start=1):
            if index >= cut:
                other = Clip(scene_seed(rng), size_wh).frame(0) if index == cut else scenes[-1]
                scenes.append(Scene(other.image, ()))
            else:
                gone = [i for i, frames in away.items() if index in frames]
                scenes.append(clip.frame(time * pace, without=gone))
        return scenes, ids


def _absence(rng: Generator, frames: int) -> range:
    """The frames an object is gone from: any but the first, to the end or not."""
    start = int(rng.integers(1, frames))
    return range(start, start + int(rng.integers(1, frames)))


def _mask_of(scene: Scene, track_id: int) -> BoolArray:
    found: Sequence[SceneObject] = [o for o in scene.objects if o.track_id == track_id]
    return squash(found[0].mask) if found else np.zeros((SIDE, SIDE), bool)
