"""How far half precision and the size of a batch move results: `python -m bench.precision`.

On CUDA, bfloat16 is measured as it is used there. Without, the CPU stands in: the same autocast, in
other kernels. Pictures are generated; what is compared are detections before any mask, and the
masks of the same boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Detections, Frame, Image, Item
from annotate.discover.class_list import load_prompts
from annotate.ground.base import Grounder
from annotate.ground.select import Detector
from annotate.models import precision
from annotate.models.devices import choose_device
from annotate.segment.base import Segmenter
from annotate.segment.upsampling import upsample_masks
from annotate.synthetic.demo import COMBOS
from annotate.synthetic.still import draw_still

Found = Sequence[Detections]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="tiny", help="a preset")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    asked = ["dataset=.", f"models={arguments.models}", "prompts=[a]"]
    settings = typed(compose(asked, "config"), AnnotateCommand)
    device = choose_device(settings.device)
    images = [
        draw_still(900 + n, (320, 240), combos=COMBOS).image for n in range(arguments.pictures)
    ]
    frames = [Frame(Item(f"{n}.png", Path()), image) for n, image in enumerate(images)]
    classes = load_prompts(sorted({" ".join(combo) for combo in COMBOS}))
    found, masks = {}, {}
    for kind, half in (("float32", {}), ("bfloat16", {device.type: torch.bfloat16})):
        precision.HALF = half
        grounder = settings.grounder.make(Grounder)
        segmenter = settings.segmenter.make(Segmenter)
        grounder.load(classes)
        segmenter.load()
        detector = Detector(grounder, settings.ground)
        for batch in (1, arguments.batch):
            found[kind, batch] = [
                one
                for at in range(0, len(images), batch)
                for one in detector.find(frames[at : at + batch])
            ]
        boxes = found["float32", 1]
        masks[kind] = [masks_of(segmenter, i, d) for i, d in zip(images, boxes, strict=True)]
    floor = settings.ground.floor
    print(f"{arguments.models} on {device.type}, {len(images)} pictures, floor {floor}")
    one, many = 1, arguments.batch
    for kind in ("float32", "bfloat16"):
        compare(f"{kind}, batch {one} and {many}", found[kind, one], found[kind, many])
    compare("float32 and bfloat16, batch 1", found["float32", one], found["bfloat16", one])
    ious = np.concatenate(
        [iou(a, b) for a, b in zip(masks["float32"], masks["bfloat16"], strict=True)]
    )
    print(
        f"masks of the same {len(ious)} boxes, float32 and bfloat16: IoU {ious.mean():.4f} in the "
        f"mean, below 0.99 {(ious < 0.99).mean():.1%}, below 0.9 {(ious < 0.9).mean():.1%}, "
        f"lowest {ious.min():.3f}"
    )


def masks_of(segmenter: Segmenter, image: Image, found: Detections) -> np.ndarray:
    """Masks (k, h, w) of boxes in a picture."""
    if not len(found):
        return np.zeros((0, *image.shape[:2]), bool)
    (embedding,) = segmenter.embed([image])
    logits, _ = segmenter.decode(embedding, torch.from_numpy(found.boxes_xyxy))
    return np.asarray(upsample_masks(logits, image.shape[:2]).cpu().numpy())


def iou(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of masks (k, h, w) with others, (k,); 1 where both are empty."""
    both, either = (masks & others).sum((1, 2)), (masks | others).sum((1, 2))
    return np.where(either, both / np.maximum(either, 1), 1.0)


def compare(what: str, one: Found, other: Found) -> None:
    """Print how far the detections of the same pictures lie apart, the best of each paired off."""
    alone = lone_sure = pairs = 0
    boxes, scores, classes = [0.0], [0.0], 0
    for a, b in zip(one, other, strict=True):
        free = set(range(len(b)))
        for row in range(len(a)):
            apart = {n: float(np.abs(a.boxes_xyxy[row] - b.boxes_xyxy[n]).max()) for n in free}
            near = [n for n in free if apart[n] < 4]
            same = [n for n in near if b.class_ids[n] == a.class_ids[row]]
            if not near:
                alone += 1
                lone_sure += bool(a.scores[row] >= 0.3)
                continue
            best = min(same or near, key=apart.__getitem__)
            free.remove(best)
            pairs += 1
            classes += not same
            boxes.append(apart[best])
            scores.append(abs(float(a.scores[row] - b.scores[best])))
        alone += len(free)
        lone_sure += sum(bool(b.scores[n] >= 0.3) for n in free)
    print(
        f"{what}: {pairs} pairs of detections, boxes {np.median(boxes):.3f} px apart in the median "
        f"and {max(boxes):.2f} at most, scores {np.median(scores):.4f} and {max(scores):.3f}; "
        f"{classes} of another class; {alone} in one alone, {lone_sure} of them scored 0.3 or more"
    )


if __name__ == "__main__":
    main()
