"""What is spent beside the models: wall time over that of their bare forward passes, less one.

The bare passes are those of a run before, on the same tensors or on others of the same shapes, one
after the other and nothing between them: grounder, encoder, decoder, and in a video memory's
attention and encoder. They run in turns with whole runs. What a run takes beyond them is overhead:
preparing pictures, choosing boxes, finishing and encoding masks, keeping tracks. At full size on a
CPU a turn takes minutes, in which the machine drifts by more than what is measured; there the
passes are timed within the run itself, as nothing else computes meanwhile but finishing of masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch

from annotate.data.types import Frame, Image, Item
from annotate.discover.class_list import load_prompts
from annotate.ground.grounding_dino import GroundingDino
from annotate.ground.grounding_dino.captions import Captions
from annotate.ground.grounding_dino.scorer import PhraseScorer
from annotate.ground.select import Detector
from annotate.models import sam2_architecture
from annotate.models.devices import choose_device
from annotate.models.layouts import packaged_architecture
from annotate.runner.pipeline import Pipeline
from annotate.segment.sam2 import Sam2
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.synthetic.still import draw_still
from bench.fixed_boxes import FixedBoxes, grid_boxes
from bench.models import Models, load_tiny
from bench.passes import Passes
from bench.table import Cell, Options, Table
from bench.turns import forget_peaks, peaks, peaks_mb

SIZE_HW = (1080, 1920)
CLASSES = ("red circle", "blue square")
FRAMES = {"cpu": 8, "cuda": 32}  # of a run; batches of a GPU have 8
TURNS = 3
FULL_SAM = "configs/sam2.1/sam2.1_hiera_t.yaml"


def full_size(classes: Sequence[str], *, device: str) -> Models:
    """Grounding DINO's and SAM 2.1 Hiera tiny's real classes at full size, with random weights."""
    import transformers

    made = load_tiny(classes, device=device)
    on = choose_device(device)
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig()
    network = transformers.GroundingDinoForObjectDetection(config).eval().requires_grad_(False)
    tiny: Any = made.detector.grounder
    source = tiny._captions._scorer
    processor = _Processor(source._tokenizer, transformers.GroundingDinoImageProcessor())
    network.model.special_tokens = source._model.model.special_tokens
    scorer = PhraseScorer(network, processor, device=on, pooling="mean")
    grounder = object.__new__(GroundingDino)
    grounder._captions = Captions(scorer, load_prompts(list(classes)))
    architecture = packaged_architecture(FULL_SAM)
    assert architecture is not None
    segmenter = object.__new__(Sam2)
    segmenter._image = Sam2Image(sam2_architecture.build(architecture), device=on)
    segmenter.memory = Sam2Memory(segmenter._image)
    detector = Detector(grounder, made.settings.ground)
    return replace(made, detector=detector, segmenter=segmenter)


class _Processor:
    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer, self.image_processor = tokenizer, image_processor


def measure(options: Options) -> Iterator[Table]:
    """Of stills and of video frames, by how many boxes there are."""
    rows: list[list[Cell]] = []
    for kind in ("tiny", "full size")[: 1 + options.full]:
        load = load_tiny if kind == "tiny" else full_size
        models = load(CLASSES, device=options.device)
        slow = kind != "tiny" and options.device == "cpu"
        if slow:  # what is made at first use is no overhead
            _stills(models, 1, options.device)[1](1)
        for count in (1,) if options.quick else (1, 10) if slow else (1, 10, 100):
            for what, of_models in (("stills", _stills), ("video frames", _video)):
                frames = 2 if options.quick or slow else FRAMES[options.device]
                pipeline, run = of_models(models, count, options.device)
                took = (_within if slow else _in_turns)(models, run, frames, options)
                stages = pipeline.stages.seconds
                whole = sum(stages.values())
                rows.append([
                    kind, what, count, 1000 * took.wall / frames, 1000 * took.bare / frames,
                    100 * took.overhead, 100 * min(1.0, 1 / (1 + took.overhead)),
                    frames / took.wall, *took.peaks,
                    *(100 * stages[stage] / whole for stage in STAGES),
                ])  # fmt: skip
    yield Table(
        "Overhead over the bare models",
        f"{options.device}, {SIZE_HW[1]}x{SIZE_HW[0]}, every frame grounded, boxes of 2 %; wall "
        "time, its last columns by stage. Bare passes ran alone, in turns with whole runs (at full "
        "size on a CPU: within the run). Targets: at most 3 % on a CPU and 10 % "
        "on a GPU with models of full size.",
        ("models", "of", "boxes", "ms each", "bare ms", "overhead %", "busy %", "a second",
         *peaks(options.device), *(f"{stage} %" for stage in STAGES)),
        rows,
    )  # fmt: skip


STAGES = ("decode", "ground", "segment", "track", "masks")
Run = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a run, and of its passes alone."""

    wall: float
    bare: float
    overhead: float  # share of the bare time
    peaks: list[float]


def _in_turns(models: Models, run: Run, frames: int, options: Options) -> Took:
    device = options.device
    run(2)
    forget_peaks(device)
    run(frames)
    held = peaks_mb(device)
    passes = Passes(models, device, kept=True)
    with passes.watching():
        run(frames)
    passes.alone()
    walls, bares = [], []
    for _ in range(1 if options.quick else TURNS):
        walls.append(_clocked(lambda: run(frames), device))
        bares.append(_clocked(passes.alone, device))
    overhead = median(wall / bare - 1 for wall, bare in zip(walls, bares, strict=True))
    return Took(median(walls), median(bares), overhead, held)


def _within(models: Models, run: Run, frames: int, options: Options) -> Took:
    passes = Passes(models, options.device, kept=False)
    forget_peaks(options.device)
    with passes.watching():
        wall = _clocked(lambda: run(frames), options.device)
    bare = passes.seconds
    return Took(wall, bare, wall / bare - 1, peaks_mb(options.device))


def _clocked(work: Callable[[], object], device: str) -> float:
    """Seconds by the clock, until the device is done."""
    begun = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _image() -> Image:
    scene = draw_still(5, (640, 480)).image
    return np.ascontiguousarray(cv2.resize(scene, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC))


def _stills(models: Models, count: int, device: str) -> tuple[Pipeline, Run]:
    boxes = grid_boxes(count, SIZE_HW)
    pipeline = models.pipeline(FixedBoxes(models.detector, {0: boxes}))
    image = _image()
    batch = 8 if device == "cuda" else 1

    def run(number: int) -> None:
        begun: list[Callable[[], object]] = []
        for first in range(0, number, batch):
            some = range(first, min(first + batch, number))
            item = [Frame(Item(f"{n}.png", Path("a")), image.copy()) for n in some]
            begun.append(pipeline.begin(item))
            if len(begun) > 1:
                begun.pop(0)()
        for finish in begun:
            finish()

    return pipeline, run


def _video(models: Models, count: int, device: str) -> tuple[Pipeline, Run]:
    boxes = grid_boxes(count, SIZE_HW)
    batch = 8 if device == "cuda" else 1
    pipeline = models.pipeline(FixedBoxes(models.detector, {0: boxes}), batch=batch)
    image, item = _image(), Item("a.mp4", Path("a"), "video")

    def run(number: int) -> None:
        source = (Frame(item, image.copy(), n, n / 25) for n in range(number))
        for _ in pipeline.video(source).provisional():
            pass

    return pipeline, run
