"""The grounder's boxes: average precision, and what it finds of phrases that are absent."""

from __future__ import annotations

import contextlib
import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import ALL_COMBOS, HELD_OUT, TRAIN_COMBOS, Combo
from training.figures.table import CLIP_FRAMES, OBLONG, SQUARE, Table
from training.grounder_loss import phrase_tokens
from training.prompts import sample_prompt, vocabulary

_MIN_SCORE: Final = 0.02  # detections below cannot move the average precision
_LEAST_VISIBLE: Final = 0.3  # of an object in a frame of a clip
_ABSENT_PHRASES: Final = 60
_SEEDS_PER_SET: Final = 5_000


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
