"""Ids and masks from text, against the two usual ways on the same weights: `-m bench.tracking`.

All rows see the same clips (bench/clips.py) and the same class list, and share one grounder, one
segmenter, and one score threshold for what counts:

- detect once: ground frame 0, prompt sam2's own video predictor with the boxes, propagate. The way
  of sam2's and Grounded SAM 2's tutorials.
- detect every 20: ground and segment every 20th frame; a mask takes the id of the first tracked
  mask above IoU 0.8, else a new one; reset the predictor, prompt it with the masks, propagate to
  the next. The way of Grounded SAM 2's "continuous id" demos.
- annotate: `Pipeline.video`, as `python -m annotate` runs it, grounding every frame or every 20th.

"True boxes" rows take boxes and classes from the truth instead of the grounder: what is missing to
1.0 there is the segmenter's and the tracker's. "True masks" rows, of annotate alone, also take the
masks of key frames from it: what is missing there is memory's and the rules'.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from annotate.data import geometry
from annotate.data.types import Detections, Frame, Image, Item, Rle
from annotate.evaluate.tracking import (
    Tracked,
    TrackedMask,
    TrackingScores,
    VideoCounts,
    combine,
    count_video,
)
from annotate.segment.base import Segmenter
from annotate.segment.upsampling import upsample_masks
from annotate.synthetic.canvas import Scene
from bench.clips import CLIPS, BenchClip, phrases, truth
from bench.models import Models, load_tiny, sam2_state

EVERY = 20  # frames between groundings, of the second baseline and of annotate
SAME_IOU = 0.8  # of the second baseline

Finder = Callable[[Sequence[Frame]], list[Detections]]
Scenes = dict[int, Scene]  # by the id of their image
Labels = Sequence[Sequence[Tracked]]  # per frame
Method = Callable[[Models, Sequence[Image], Finder], Labels]


def detect_once(models: Models, images: Sequence[Image], find: Finder) -> Labels:
    """Baseline: boxes of frame 0, propagated."""
    (found,) = find(_frames(images[:1]))
    labels: list[list[TrackedMask]] = [[] for _ in images]
    if not len(found):
        return labels
    state = sam2_state(models.predictor, images)
    for number, box in enumerate(found.boxes_xyxy, start=1):
        models.predictor.add_new_points_or_box(state, 0, number, box=box)
    for t, ids, logits in models.predictor.propagate_in_video(state):
        classes = {number: int(found.class_ids[number - 1]) for number in ids}
        labels[t] = _labels(ids, classes, (logits[:, 0] > 0).cpu().numpy())
    return labels


def detect_every(models: Models, images: Sequence[Image], find: Finder) -> Labels:
    """Baseline: masks of key frames, each with the first tracked id that overlaps enough."""
    labels: list[list[TrackedMask]] = [[] for _ in images]
    state = sam2_state(models.predictor, images)
    tracked: dict[int, geometry.Masks] = {}  # id -> mask (h, w), as the key frame before left it
    born = 0
    for start in range(0, len(images), EVERY):
        (found,) = find(_frames([images[start]]))
        prompts: dict[int, tuple[geometry.Masks, int]] = {}  # id -> mask, class
        for mask, class_id in zip(
            _segment(models, images[start], found), found.class_ids.tolist(), strict=True
        ):
            if not mask.any():
                continue
            number = next((i for i, m in tracked.items() if _iou(m, mask) > SAME_IOU), 0)
            if not number:
                number = born = born + 1
            prompts[number] = mask, class_id
        models.predictor.reset_state(state)
        for number, (mask, _) in prompts.items():
            models.predictor.add_new_mask(state, start, number, mask)
        if not prompts:
            continue
        classes = {number: class_id for number, (_, class_id) in prompts.items()}
        # One frame beyond: its masks there are what the next key frame's are matched to.
        for t, ids, logits in models.predictor.propagate_in_video(state, start, EVERY):
            masks = (logits[:, 0] > 0).cpu().numpy()
            tracked = dict(zip(ids, masks, strict=True))
            if t < start + EVERY:
                labels[t] = _labels(ids, classes, masks)
    return labels


def ours(models: Models, images: Sequence[Image], find: Finder, every: int) -> Labels:
    """The package's own way."""
    pipeline = models.pipeline(_Detector(find), every=every)
    video = pipeline.video(_frames(images))
    records = video.settled(list(video.provisional()))
    least = models.settings.threshold
    return [
        [TrackedMask(i.track_id, i.class_id, i.mask) for i in r.instances if i.score >= least]
        for r in records
    ]


def _frames(images: Sequence[Image]) -> list[Frame]:
    item = Item("clip", Path("clip"), "video")
    return [Frame(item, image, t) for t, image in enumerate(images)]


METHODS: dict[str, Method] = {
    "detect once": detect_once,
    f"detect every {EVERY}": detect_every,
    "annotate, every=1": lambda models, images, find: ours(models, images, find, 1),
    f"annotate, every={EVERY}": lambda models, images, find: ours(models, images, find, EVERY),
}
BASELINES = tuple(METHODS)[:2]
FROM_TEXT, FROM_BOXES, FROM_MASKS = "text", "true boxes", "true masks"


@dataclass(frozen=True, slots=True)
class _Detector:
    find: Finder


class TrueMasks(Segmenter):
    """The segmenter, but its boxes become the masks of the truth, as fine as its logits are."""

    has_memory = True

    def __init__(self, segmenter: Segmenter, scenes: Scenes) -> None:
        self._segmenter, self._scenes = segmenter, scenes
        self.memory = segmenter.memory
        self._seen: Scene | None = None

    def load(self) -> None:
        """Its segmenter is."""

    def embed(self, images: Sequence[Image]) -> list[Any]:
        (image,) = images
        self._seen = self._scenes[id(image)]
        return self._segmenter.embed(images)

    def decode(self, embedding: Any, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        assert self._seen is not None and len(self._seen.objects) == len(boxes_k4)
        masks = torch.from_numpy(np.stack([o.mask for o in self._seen.objects])).float()
        size_hw = embedding.high_res[0].shape[-2:]
        shares = functional.interpolate(masks[:, None], size_hw, mode="area")[:, 0]
        device = embedding.features.device
        return (shares.to(device) - 0.5) * 20, torch.ones(len(boxes_k4), device=device)


@dataclass(frozen=True, slots=True)
class Result:
    """One method on one clip."""

    method: str
    prompt: str
    clip: str
    counts: VideoCounts
    seconds: float


def from_text(models: Models) -> Finder:
    """The grounder; of what it finds, the baselines know only what counts."""

    def find(frames: Sequence[Frame]) -> list[Detections]:
        return [_sure(found, models.settings.threshold) for found in models.detector.find(frames)]

    return find


def from_truth(scenes: Scenes, classes: Sequence[str]) -> Finder:
    """Every visible object's box and class."""

    def find(asked: Sequence[Frame]) -> list[Detections]:
        return [_true_boxes(scenes[id(frame.image)], classes) for frame in asked]

    return find


def measure_clip(
    models: Models, clip: BenchClip, classes: Sequence[str], methods: Sequence[str]
) -> Iterator[Result]:
    """Every method on one clip, from text and from true boxes."""
    scenes = list(clip.frames())
    images = [scene.image for scene in scenes]
    expected = [truth(scene, classes) for scene in scenes]
    by_image = {id(image): scene for image, scene in zip(images, scenes, strict=True)}
    true_boxes = from_truth(by_image, classes)
    true_masks = replace(models, segmenter=TrueMasks(models.segmenter, by_image))
    for name in methods:
        text = from_text(models) if name in BASELINES else models.detector.find
        ways = [(FROM_TEXT, text, models), (FROM_BOXES, true_boxes, models)]
        if name not in BASELINES:
            ways.append((FROM_MASKS, true_boxes, true_masks))
        for prompt, find, with_models in ways:
            begun = time.perf_counter()
            found = METHODS[name](with_models, images, find)
            seconds = time.perf_counter() - begun
            counts = count_video(zip(expected, found, strict=True))
            yield Result(name, prompt, clip.name, counts, seconds)


def _sure(found: Detections, threshold: float) -> Detections:
    rows = np.flatnonzero(found.scores >= threshold)
    return Detections(
        found.boxes_xyxy[rows],
        found.scores[rows],
        found.class_ids[rows],
        tuple(found.phrases[r] for r in rows),
        found.margins[rows],
    )


def _true_boxes(scene: Scene, classes: Sequence[str]) -> Detections:
    shown = scene.objects
    return Detections(
        np.array([o.box_xyxy for o in shown], np.float32).reshape(-1, 4),
        np.ones(len(shown), np.float32),
        np.array([classes.index(o.phrase) for o in shown], np.int32),
        tuple(o.phrase for o in shown),
        np.ones(len(shown), np.float32),
    )


def _segment(models: Models, image: Image, found: Detections) -> geometry.Masks:
    """Masks (n, h, w) of the boxes of one frame."""
    if not len(found):
        return np.zeros((0, *image.shape[:2]), bool)
    (embedding,) = models.segmenter.embed([image])
    logits, _ = models.segmenter.decode(embedding, torch.from_numpy(found.boxes_xyxy))
    masks: geometry.Masks = upsample_masks(logits, image.shape[:2]).cpu().numpy()
    return masks


def _labels(
    ids: Sequence[int], classes: dict[int, int], masks: geometry.Masks
) -> list[TrackedMask]:
    size_hw = masks.shape[1], masks.shape[2]
    counts = geometry.encode_masks(masks)
    return [
        TrackedMask(number, classes[number], Rle(rle, size_hw))
        for number, rle, mask in zip(ids, counts, masks, strict=True)
        if mask.any()
    ]


def _iou(one: geometry.Masks, other: geometry.Masks) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


_worker: tuple[Models, list[str]] | None = None


def _start_worker(classes: list[str], device: str) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = load_tiny(classes, device=device), classes


def _run_clip(clip: BenchClip, methods: Sequence[str]) -> list[Result]:
    assert _worker is not None
    models, classes = _worker
    return list(measure_clip(models, clip, classes, methods))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=len(CLIPS), help="of the set, the first ones")
    parser.add_argument("--only", choices=tuple(METHODS), nargs="+", default=tuple(METHODS))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--per-clip", action="store_true", help="also HOTA of every clip")
    options = parser.parse_args()
    begun = time.perf_counter()
    clips = CLIPS[-1:] + CLIPS[: options.clips - 1]  # the one with a cut is always in
    classes = phrases()
    results: dict[tuple[str, str], list[Result]] = defaultdict(list)
    with ProcessPoolExecutor(
        options.workers, get_context("spawn"), _start_worker, (classes, options.device)
    ) as pool:
        for found in pool.map(_run_clip, clips, [options.only] * len(clips)):
            for result in found:
                results[result.prompt, result.method].append(result)
            if options.per_clip:
                hota = [f"{r.method} ({r.prompt}) {combine([r.counts]).hota:.3f}" for r in found]
                print(f"{found[0].clip}: {'; '.join(hota)}", flush=True)
    scores = {key: combine([r.counts for r in rows]) for key, rows in results.items()}
    _print_table(scores, results)
    _print_gain(scores)
    frames = sum(clip.length for clip in clips)
    print(
        f"\n{len(clips)} clips, {frames} frames, {len(classes)} classes asked for; "
        f"{time.perf_counter() - begun:.0f} s in all, {options.workers} processes of one thread"
    )


def _print_table(
    scores: dict[tuple[str, str], TrackingScores], results: dict[tuple[str, str], list[Result]]
) -> None:
    print(
        "\n| boxes from | method | HOTA | DetA | AssA | IDF1 | IDSW | J "
        "| ids twice in a frame | ids on two objects | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    order = (FROM_TEXT, FROM_BOXES, FROM_MASKS)
    for (prompt, method), s in sorted(scores.items(), key=lambda row: order.index(row[0][0])):
        shares = [f"{v:.3f}" for v in (s.hota, s.det_a, s.ass_a, s.idf1)]
        seconds = sum(r.seconds for r in results[prompt, method])
        cells = [prompt, method, *shares, s.id_switches, f"{s.j:.3f}", s.repeated_ids, s.shared_ids]
        print("|", *(f"{c} |" for c in (*cells, f"{seconds:.0f}")))


def _print_gain(scores: dict[tuple[str, str], TrackingScores]) -> None:
    """What annotate adds to the better baseline."""
    baselines = [s for (prompt, m), s in scores.items() if prompt == FROM_TEXT and m in BASELINES]
    if not baselines:
        return
    best = max(baselines, key=lambda s: s.hota)
    print()
    for (prompt, method), s in scores.items():
        if prompt == FROM_TEXT and method not in BASELINES:
            closed = (s.hota - best.hota) / (1 - best.hota)
            print(
                f"{method}: HOTA {s.hota / best.hota:.2f} times the better baseline's, "
                f"{closed:.0%} of what that lacks to 1; id switches {s.id_switches} against "
                f"{', '.join(str(b.id_switches) for b in baselines)}"
            )


if __name__ == "__main__":
    main()
