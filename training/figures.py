"""Measure the embedded models on scenes they have never seen: `python -m training.figures`.

Prints the table of the model card. All scenes come from seeds set aside for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from numpy.random import Generator
from numpy.typing import NDArray
from omegaconf import OmegaConf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import ALL_COMBOS, HELD_OUT, TRAIN_COMBOS, Combo
from training.grounder_loss import phrase_tokens
from training.loop import FIGURE_SEEDS, TUNING_SEEDS, prepare_torch
from training.prompts import sample_prompt, vocabulary
from training.segmenter import SIDE

TINY: Final = Path(__file__).parents[1] / "annotate/models/tiny"
SQUARE: Final = ((192, 192), (256, 256), (384, 384))
OBLONG: Final = ((256, 192), (320, 240), (240, 320), (480, 270), (270, 480), (640, 480))
CLIP_SIZES: Final = ((256, 256), (320, 240), (240, 320), (256, 256), (384, 216))
CLIP_FRAMES: Final = 64
_MIN_SCORE: Final = 0.02  # detections below cannot move the average precision
_MIN_SHARE: Final = 80 / SIDE**2  # of the picture; smaller masks are not asked for
_LEAST_VISIBLE: Final = 0.3  # of an object in a frame of a clip
_ABSENT_PHRASES: Final = 60
_SEEDS_PER_SET: Final = 5_000
# Root of a mask's area, px of the squashed picture. SAM 2 draws masks at a quarter of its size.
_SIDES: Final = (
    ("below 16 px", 0.0, 16.0),
    ("16 to 40 px", 16.0, 40.0),
    ("above 40 px", 40.0, 1e9),
)
_RECOVERY_FRAMES: Final = 5
_OBJECTS_PER_CLIP: Final = 4

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GroundingSet:
    """One line of the grounder's table."""

    name: str
    kind: str  # of phrase
    n: int
    combos: Sequence[Combo] = TRAIN_COMBOS
    asked: Sequence[Combo] = TRAIN_COMBOS
    sizes: Sequence[tuple[int, int]] = SQUARE + OBLONG
    phrases: tuple[int, int] = (6, 15)  # half-open range of their number
    judged: frozenset[Combo] = frozenset(ALL_COMBOS)  # only these objects are scored
    clips: bool = False  # frames of clips, where what is mostly hidden is not scored


def grounding_sets(stills: int) -> list[GroundingSet]:
    few = max(1, stills * 2 // 5)
    # Half of the objects are of held-out combinations, among ordinary ones.
    mixed = sorted(HELD_OUT) * (len(TRAIN_COMBOS) // len(HELD_OUT)) + list(TRAIN_COMBOS)
    return [
        GroundingSet("colour + shape, trained combinations", "combo", stills),
        GroundingSet(
            "colour + shape, held-out combinations",
            "combo",
            stills,
            combos=mixed,
            asked=ALL_COMBOS,
            judged=HELD_OUT,
        ),
        GroundingSet(
            "colour + shape, several objects of one phrase", "combo", few, combos=TRAIN_COMBOS[::10]
        ),
        GroundingSet("colour + shape, frames of clips", "combo", few, clips=True),
        GroundingSet("shape alone", "shape", few),
        GroundingSet("with a material", "material", few),
        GroundingSet("with a size", "size", few),
        GroundingSet('colour + "object"', "colour", few),
        GroundingSet("colour + shape, square pictures", "combo", few, sizes=SQUARE),
        GroundingSet("colour + shape, oblong pictures", "combo", few, sizes=OBLONG),
        GroundingSet("colour + shape, 40 phrases a prompt", "combo", few, phrases=(40, 41)),
    ]


@dataclass(slots=True)
class Table:
    """Rows of a Markdown table, printed as they come."""

    columns: tuple[str, ...]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._emit(self.columns)
        self._emit(("---",) * len(self.columns))

    def add(self, *cells: str | float) -> None:
        self._emit([f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells])

    def _emit(self, cells: Sequence[str]) -> None:
        self.lines.append("| " + " | ".join(cells) + " |")
        print(self.lines[-1], flush=True)


class Grounder:
    """Text and picture to scored boxes, exactly as `from_pretrained` users would run it."""

    def __init__(self, folder: Path) -> None:
        self._model = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
        self._processor = AutoProcessor.from_pretrained(folder)
        self.seconds = 0.0

    @torch.inference_mode()
    def detect(
        self, image: NDArray[np.uint8], text: str
    ) -> Iterator[tuple[int, list[float], float]]:
        """Phrase index, box as COCO xywh px, score: the highest of the phrase's own tokens."""
        begun = time.perf_counter()
        inputs = self._processor(images=image, text=text, return_tensors="pt")
        out = self._model(**inputs)
        ids = inputs["input_ids"][0]
        prob_qn = out.logits[0, :, : len(ids)].sigmoid()
        spans = phrase_tokens(ids)
        score_qp = torch.stack([prob_qn[:, span].amax(1) for span in spans], 1)
        self.seconds += time.perf_counter() - begun
        height, width = image.shape[:2]
        boxes = out.pred_boxes[0] * torch.tensor([width, height, width, height])
        boxes[:, :2] -= boxes[:, 2:] / 2
        for query, phrase in (score_qp > _MIN_SCORE).nonzero().tolist():
            yield phrase, boxes[query].tolist(), float(score_qp[query, phrase])


def measure_grounder(folder: Path, stills: int, seeds: range) -> list[str]:
    table = Table(
        ("grounder, boxes", "AP50", "AP", "AP75", "best F1", "at score", "pictures", "ms / picture")
    )
    grounder = Grounder(folder)
    for number, group in enumerate(grounding_sets(stills)):
        grounder.seconds = 0.0
        scores = _score_boxes(grounder, group, seeds[number * _SEEDS_PER_SET :])
        ms = grounder.seconds / group.n * 1000
        table.add(group.name, *scores, str(group.n), f"{ms:.0f}")
    print()
    few = max(1, stills * 2 // 5)
    absent = Table((f"grounder, {_ABSENT_PHRASES} absent phrases, score", "boxes / picture"))
    for threshold, count in _false_boxes(grounder, few, seeds[70_000:]).items():
        absent.add(f"{threshold:.2f}", count)
    return [*table.lines, "", *absent.lines]


def _false_boxes(grounder: Grounder, stills: int, seeds: Sequence[int]) -> dict[float, float]:
    """Threshold -> boxes per picture for phrases of which none is in it, before any NMS."""
    thresholds = np.arange(0.2, 0.55, 0.05)
    counts = np.zeros(len(thresholds))
    everything = vocabulary("combo", ALL_COMBOS)
    for seed in seeds[:stills]:
        scene = draw_still(seed, (SQUARE + OBLONG)[seed % len(SQUARE + OBLONG)])
        shown = {item.phrase for item in scene.objects}
        absent = [phrase for phrase in everything if phrase not in shown]
        chosen = np.random.default_rng(seed).permutation(len(absent))[:_ABSENT_PHRASES]
        text = ". ".join(absent[i] for i in chosen) + "."
        # A query that answers to several phrases is one box.
        best: dict[tuple[float, ...], float] = defaultdict(float)
        for _, box, score in grounder.detect(scene.image, text):
            best[tuple(box)] = max(best[tuple(box)], score)
        counts += [sum(score >= t for score in best.values()) for t in thresholds]
    return dict(zip(thresholds.round(2).tolist(), (counts / stills).tolist(), strict=True))


def _score_boxes(
    grounder: Grounder, group: GroundingSet, seeds: Sequence[int]
) -> tuple[float, float, float, float, float]:
    """AP50, AP, AP75 with phrases as categories; best F1 at IoU 0.5 and its threshold."""
    truth: list[dict[str, Any]] = []
    found: list[tuple[int, str, list[float], float]] = []
    categories: dict[str, int] = {}
    for image_id, (seed, scene) in enumerate(_grounding_scenes(group, seeds), start=1):
        rng = np.random.default_rng(seed)
        prompt = sample_prompt(
            rng,
            scene.objects,
            limit=int(rng.integers(*group.phrases)),
            kind=group.kind,
            combos=group.asked,
            keep_present=1.0,
            fill=group.phrases[1] - group.phrases[0] == 1,
        )
        for item, describes in zip(scene.objects, prompt.describes, strict=True):
            if (item.colour, item.shape) not in group.judged:
                continue
            x0, y0, x1, y1 = item.box_xyxy
            for index in np.flatnonzero(describes):
                name = prompt.phrases[index]
                truth.append(
                    {
                        "id": len(truth) + 1,
                        "image_id": image_id,
                        "category_id": categories.setdefault(name, len(categories) + 1),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": item.area,
                        "iscrowd": int(item.area < _LEAST_VISIBLE * item.full_area),  # not scored
                    }
                )
        for phrase, box, score in grounder.detect(scene.image, prompt.text):
            found.append((image_id, prompt.phrases[phrase], box, score))
    detections = [
        {"image_id": i, "category_id": categories[name], "bbox": box, "score": score}
        for i, name, box, score in found
        if name in categories
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i + 1} for i in range(group.n)],
        "annotations": truth,
        "categories": [{"id": v, "name": k} for k, v in categories.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(detections), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    average, at_50, at_75 = (float(x) for x in judge.stats[:3])
    return at_50, average, at_75, *_best_f1(judge)


def _best_f1(judge: Any) -> tuple[float, float]:
    """F1 over all detections and objects at IoU 0.5, at the one threshold that suits it best."""
    images = [e for e in judge.evalImgs if e and e["aRng"] == judge.params.areaRng[0]]
    scores = np.concatenate([e["dtScores"] for e in images])
    right = np.concatenate([e["dtMatches"][0] > 0 for e in images])
    objects = sum(len(e["gtIds"]) for e in images)
    order = np.argsort(-scores)
    hits = right[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    best = int(f1.argmax())
    return float(f1[best]), float(scores[order][best])


def _grounding_scenes(group: GroundingSet, seeds: Sequence[int]) -> Iterator[tuple[int, Scene]]:
    """The first `n` scenes that show an object that is judged."""
    given = 0
    for seed in seeds:
        if given == group.n:
            return
        size_wh = group.sizes[seed % len(group.sizes)]
        if group.clips:
            scene = Clip(seed, size_wh, combos=group.combos).frame(seed % CLIP_FRAMES)
        else:
            scene = draw_still(seed, size_wh, combos=group.combos)
        if any((o.colour, o.shape) in group.judged for o in scene.objects):
            given += 1
            yield seed, scene


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
        least = _MIN_SHARE * scene.image.shape[0] * scene.image.shape[1]
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
        ious = _ious(_masks(predictor, box=boxes), truth)
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
        found["box shaken by 5 %"] += _ious(_masks(predictor, box=shaken), truth)
        clicks = np.stack([_random_pixel(rng, mask) for mask in truth])[:, None]
        labels = np.ones((len(items), 1), np.int32)
        masks = _masks(predictor, point_coords=clicks, point_labels=labels)
        found["one point"] += _ious(masks, truth)
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


def _ious(masks_khw: BoolArray, truth_khw: BoolArray) -> list[float]:
    inter = (masks_khw & truth_khw).sum((1, 2))
    return list(inter / np.maximum((masks_khw | truth_khw).sum((1, 2)), 1))


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
    first = [o for o in scenes[0].objects if o.area >= _MIN_SHARE * height * width]
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
                overlaps[track_id] += _ious(mask[None], item.mask[None])
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


def build_segmenter(folder: Path, target: str) -> Any:
    """The shipped model as the sam2 class `target`, without Hydra's compose."""
    config = OmegaConf.load(folder / "sam2.1_tiny.yaml").model
    config._target_ = target
    model = instantiate(config)
    state = torch.load(folder / "sam2.1_tiny.pt", weights_only=True)["model"]
    model.load_state_dict(state, strict=True)
    return model.eval()


def image_predictor(folder: Path) -> Any:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(build_segmenter(folder, "sam2.modeling.sam2_base.SAM2Base"))
    side = predictor.model.image_size // predictor.model.backbone_stride
    # sam2 1.1.0 hard-codes the feature sizes of 1024 px models.
    predictor._bb_feat_sizes = [(side * k, side * k) for k in (4, 2, 1)]
    return predictor


def video_predictor(folder: Path) -> Any:
    return build_segmenter(folder, "sam2.sam2_video_predictor.SAM2VideoPredictor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stills", type=int, default=500)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--grounder", type=Path, default=TINY / "grounder")
    parser.add_argument("--segmenter", type=Path, default=TINY / "segmenter")
    parser.add_argument("--only", choices=("grounder", "masks", "clips"))
    parser.add_argument("--tuning", action="store_true", help="other scenes, to compare recipes on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    prepare_torch(options.threads)
    seeds = TUNING_SEEDS if options.tuning else FIGURE_SEEDS
    begun = time.monotonic()
    parts = {
        "grounder": lambda: measure_grounder(options.grounder, options.stills, seeds),
        "masks": lambda: measure_masks(options.segmenter, options.stills, seeds),
        "clips": lambda: measure_clips(options.segmenter, options.clips, seeds),
    }
    tables = [run() for name, run in parts.items() if options.only in (None, name)]
    print(f"{time.monotonic() - begun:.0f} s on {options.threads} threads")
    if options.out:
        options.out.write_text("\n\n".join("\n".join(t) for t in tables) + "\n")


if __name__ == "__main__":
    main()
