"""What prompts, an ensemble and a second opinion bring: `python -m bench.prompts`.

The second opinion is asked about masked crops, the other rows are boxes alone. Generated stills of
18 kinds of objects, `models=tiny`. Precision and recall from the export threshold on, at IoU 0.5
with the right class; box AP by pycocotools.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

import annotate
from annotate.data.geometry import encode_masks
from annotate.data.selection import kept_instances
from annotate.evaluate.evaluation import evaluate
from annotate.evaluate.truth import read_truth
from annotate.synthetic.demo import COMBOS
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import ALL_COMBOS, SYNONYMS

SIZE = 320, 240
FIRST_SEED = 530_000  # of scenes that no model was trained on
THRESHOLD = 0.3
NAMES = sorted({" ".join(combo) for combo in COMBOS})
ABSENT = [n for combo in ALL_COMBOS if (n := " ".join(combo)) not in NAMES]


@dataclass(frozen=True, slots=True)
class Asked:
    """One row."""

    name: str
    prompts: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    judged: tuple[str, ...] = tuple(NAMES)


def rows(boxes: Path) -> Iterator[Asked]:
    """What is compared."""
    yield Asked("names", NAMES)
    yield Asked("other words for them, alone", {n: _synonyms(n)[:1] or [n] for n in NAMES})
    yield Asked("names and other words", {n: [n, *_synonyms(n)] for n in NAMES})
    yield Asked("names and 100 absent classes", [*NAMES, *ABSENT[:100]])
    things = [f"thing {n}" for n in range(1_000 - len(ABSENT))]
    yield Asked("names and 1,000 absent classes", [*NAMES, *ABSENT, *things])
    half = tuple(NAMES[::2])
    yield Asked("half of the names", list(half), judged=half)
    with_negatives = {n: {"negatives": [o for o in NAMES if o not in half]} for n in half}
    yield Asked("half, the other half as negatives", with_negatives, judged=half)
    file = {"ground__file": str(boxes), "ground": "boxes"}
    yield Asked("a noisy detector's boxes", NAMES, file)
    both = {"ground": "[tiny,boxes]", "ground__members__boxes__file": str(boxes)}
    yield Asked("both, fused, mean score", NAMES, both)
    yield Asked("both, fused, best score", NAMES, both | {"ground__score": "best"})
    many, masks = [*NAMES, *ABSENT[:100]], {"segment": "tiny"}
    for name, listed in (("names", NAMES), ("names and 100 absent classes", many)):
        yield Asked(f"{name}, with masks", listed, masks)
        for veto in (0.01, 0.05):
            vetoed = {n: {"veto": veto} for n in listed}
            yield Asked(f"{name}, verify=tiny, veto {veto}", vetoed, masks | {"verify": "tiny"})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--only", default="", help="rows whose names hold this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, truth, boxes = (Path(folder) / name for name in ("data", "truth.json", "boxes.json"))
        data.mkdir()
        _draw(data, truth, boxes, arguments.pictures)
        print("| asked | box AP | recall | precision | F1 |\n|---|---|---|---|---|")
        for number, asked in enumerate(rows(boxes)):
            if arguments.only in asked.name:
                figures = _measured(asked, data, truth, Path(folder) / f"run-{number}")
                print(f"| {asked.name} | {figures} |", flush=True)


def _measured(asked: Asked, data: Path, truth: Path, out: Path) -> str:
    options = {"models": "tiny", "segment": "none", **asked.options}
    run = annotate.run(
        dataset=data, prompts=asked.prompts, out=out, threshold=THRESHOLD, contact_sheet=False,
        export=[], **options,
    )  # fmt: skip
    found = evaluate(run, read_truth(truth, threshold=THRESHOLD), THRESHOLD)
    wanted = [found.classes[name] for name in asked.judged if name in found.classes]
    rates = sum((c.rates for c in wanted[1:]), wanted[0].rates)
    # What is found of absent classes is wrong as well.
    names = run.classes.names
    kept = sum(
        names[i.class_id] not in asked.judged
        for frame in run.frames()
        for i in kept_instances(frame, run.classes, THRESHOLD)
    )
    precision = rates.right / max(rates.found + kept, 1)
    recall = rates.right / max(rates.objects, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    ap = np.nanmean([c.average_precision["bbox"].ap for c in wanted])
    return f"{ap:.3f} | {recall:.3f} | {precision:.3f} | {f1:.3f}"


def _synonyms(name: str) -> list[str]:
    """The name with every word that has one in another word."""
    words = name.split()
    other = " ".join(SYNONYMS.get(word, (word,))[0] for word in words)
    return [other] if other != name else []


def _draw(data: Path, truth: Path, boxes: Path, count: int) -> None:
    """Pictures, the truth, and what a noisy detector finds: 20 % missing, 20 % of another class."""
    rng = np.random.default_rng(0)
    images, objects, found = [], [], []
    for n in range(count):
        scene = draw_still(FIRST_SEED + n, SIZE, combos=COMBOS, min_objects=1, max_objects=6)
        PilImage.fromarray(scene.image).save(data / f"{n:04d}.png")
        size = {"width": SIZE[0], "height": SIZE[1]}
        images.append({"id": n, "file_name": f"{n:04d}.png", **size})
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.box_xyxy
            box = [x0, y0, x1 - x0, y1 - y0]
            (counts,) = encode_masks(thing.mask[None])
            category = NAMES.index(thing.phrase)
            rle = {"size": [SIZE[1], SIZE[0]], "counts": counts}
            objects.append(
                {"image_id": n, "category_id": category, "bbox": box, "iscrowd": 0,
                 "area": thing.area, "segmentation": rle, "id": len(objects)}
            )  # fmt: skip
            if rng.random() < 0.2:
                continue
            wrong = rng.random() < 0.2
            noisy = np.array(box) + rng.normal(0, 0.05, 4) * [box[2], box[3], box[2], box[3]]
            found.append(
                {"image_id": n, "bbox": noisy.clip(0).tolist(),
                 "category_id": int(rng.integers(len(NAMES))) if wrong else category,
                 "score": float(rng.uniform(0.3, 0.6) if wrong else rng.uniform(0.35, 0.9))}
            )  # fmt: skip
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES)]
    for path, listed in ((truth, objects), (boxes, found)):
        content = {"images": images, "categories": categories, "annotations": listed}
        path.write_text(json.dumps(content))


if __name__ == "__main__":
    main()
