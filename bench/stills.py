"""A still, from 8-bit pixels to a record, against the way of the tutorials.

The tutorial way, on the same weights and boxes: one picture at a time, transformers' processor and
post-processing, SAM2ImagePredictor with all boxes of the picture, masks of the picture's size, run
lengths by pycocotools, a JSON per picture. Both really ground; boxes are then the same fixed ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

from annotate.data.types import Frame, Image, Item
from annotate.models.devices import choose_device
from annotate.models.layouts import CheckpointSource
from annotate.models.transformers_checkpoint import load_checkpoint
from annotate.record import parquet
from annotate.synthetic.still import draw_still
from bench.fixed_boxes import FixedBoxes, grid_boxes
from bench.models import Models, load_tiny
from bench.table import Cell, Options, Table
from bench.turns import seconds

SIZES = {"640x480": (480, 640), "1920x1080": (1080, 1920), "3840x2160": (2160, 3840)}
BOXES = (1, 15, 100)
CLASSES = ("red circle", "blue square")
STAGES = ("ground", "segment", "masks")


class Tutorial:
    """The models of a row, as the tutorials use them."""

    def __init__(self, models: Models, device: str, boxes: Any) -> None:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        source = models.detector.grounder.source  # type: ignore[attr-defined]
        assert isinstance(source, CheckpointSource)
        kinds = ("AutoModelForZeroShotObjectDetection", "AutoProcessor")
        self._device = choose_device(device)
        self._model, self._processor, _ = load_checkpoint(
            source, self._device, "a grounder", ("grounding-dino", "mm-grounding-dino"), kinds
        )
        memory: Any = models.segmenter.memory
        self._predictor = SAM2ImagePredictor(memory.model)
        side = memory.model.image_size // 4  # the predictor's sizes are fixed to 1024 px
        sizes = [(side, side), (side // 2, side // 2), (side // 4, side // 4)]
        self._predictor._bb_feat_sizes = sizes
        self._boxes = boxes

    @torch.inference_mode()
    def annotate(self, image: Image, target: Path) -> None:
        """A picture to its JSON."""
        text = " ".join(f"{name}." for name in CLASSES)
        asked = self._processor(images=image, text=text, return_tensors="pt").to(self._device)
        self._processor.post_process_grounded_object_detection(
            self._model(**asked), asked["input_ids"], target_sizes=[image.shape[:2]]
        )
        self._predictor.set_image(image)
        masks, scores, _ = self._predictor.predict(box=self._boxes, multimask_output=False)
        said = []
        whole = np.asarray(masks).reshape(len(self._boxes), *image.shape[:2]) > 0
        for mask, score in zip(whole, np.ravel(scores), strict=True):
            rle: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            box = [float(v) for v in coco_mask.toBbox(rle)]
            said.append({"bbox": box, "score": float(score), "counts": rle["counts"].decode()})
        target.write_text(json.dumps(said))


def measure(options: Options) -> Iterator[Table]:
    """Processor time of a picture by its size and boxes, both ways."""
    models = load_tiny(CLASSES, device=options.device)
    rows: list[list[Cell]] = []
    seen: list[list[Cell]] = []
    sizes = dict(list(SIZES.items())[:1]) if options.quick else SIZES
    with TemporaryDirectory() as folder:
        for size, (h, w) in sizes.items():
            scene = draw_still(5, (640, 480)).image
            image = np.ascontiguousarray(cv2.resize(scene, (w, h), interpolation=cv2.INTER_CUBIC))
            for count in BOXES[: 1 if options.quick else None]:
                boxes = grid_boxes(count, (h, w))
                tutorial = Tutorial(models, options.device, boxes)
                pipeline = models.pipeline(FixedBoxes(models.detector, {0: boxes}))
                stages = pipeline.stages

                def ours(image: Image = image, pipeline: Any = pipeline) -> None:
                    item = Item("a.png", Path("a.png"))
                    records = pipeline.stills([Frame(item, image.copy())])
                    parquet.write_part(Path(folder), "part-0", records)

                def theirs(image: Image = image, tutorial: Tutorial = tutorial) -> None:
                    tutorial.annotate(image, Path(folder) / "a.json")

                repeats = 1 if options.quick else 3
                took = seconds(theirs, ours, repeats=repeats, device=options.device)
                ms = [1000 * own for own in took]
                rows.append([size, count, *_masks(Path(folder)), *ms, took[0] / took[1]])
                each = [1000 * stages.seconds[s] / (repeats + 1) for s in STAGES]
                seen.append([size, count, *each])
    yield Table(
        "A still: the tutorial way and this one",
        f"`tiny` on {options.device}, one thread, ms a picture (processor time on a CPU), each box "
        "2 % of the picture. Both decode every box; masks are those that are not empty. Targets: 3 "
        "times less at 1080p with 15 instances, 6 times at 4K.",
        ("picture", "boxes", "masks, tutorial", "masks, annotate", "tutorial, ms", "annotate, ms",
         "times less"),
        rows,
    )  # fmt: skip
    yield Table(
        "A still: its stages",
        "Wall time of this way, ms a picture; masks are waited for, and finished on threads.",
        ("picture", "boxes", *STAGES),
        seen,
    )


def _masks(folder: Path) -> tuple[int, int]:
    """How many masks each way has written that are not empty."""
    theirs = json.loads((folder / "a.json").read_text())
    (record,) = parquet.read_records(folder)
    return sum(one["bbox"][2] > 0 for one in theirs), len(record.instances)
