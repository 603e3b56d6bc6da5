"""What is spent beside the models: wall time over that of their bare forward passes, less one.

Bare is the time that the passes themselves take within the run that is measured: grounder, encoder,
decoder, and in a video memory's attention and encoder. What the run takes beyond that is overhead:
preparing pictures, choosing boxes, finishing and encoding masks, keeping tracks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

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
from annotate.segment.sam2 import Sam2
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.synthetic.still import draw_still
from bench.fixed_boxes import FixedBoxes, grid_boxes
from bench.models import Models, load_tiny
from bench.table import Cell, Options, Table
from bench.turns import memory_mb

SIZE_HW = (1080, 1920)
CLASSES = ("red circle", "blue square")
FULL_SAM = "configs/sam2.1/sam2.1_hiera_t.yaml"


class Bare:
    """Adds up the time of modules while they compute; a device is waited for before and after."""

    def __init__(self, device: str) -> None:
        self.seconds = 0.0
        self._device, self._depth, self._since = device, 0, 0.0

    def watch(self, module: torch.nn.Module, stack: ExitStack) -> None:
        before = module.register_forward_pre_hook(lambda *_: self._enter())
        after = module.register_forward_hook(lambda *_: self._leave())
        stack.callback(before.remove)
        stack.callback(after.remove)

    @contextmanager
    def while_in(self, owner: Any, name: str) -> Iterator[None]:
        """A method counts as computing, too."""
        whole = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            self._enter()
            try:
                return whole(*args, **options)
            finally:
                self._leave()

        with patch.object(owner, name, timed):
            yield

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _enter(self) -> None:
        if not self._depth:
            self._since = self._now()
        self._depth += 1

    def _leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self.seconds += self._now() - self._since


def _modules(models: Models) -> list[torch.nn.Module]:
    grounder: Any = models.detector.grounder
    memory: Any = models.segmenter.memory
    sam = memory.model
    scorer = grounder._captions._scorer
    parts = [scorer._model, sam.image_encoder, sam.sam_mask_decoder, sam.memory_encoder]
    return [*parts, sam.obj_ptr_proj, sam.mask_downsample]


def full_size(device: str) -> Models:
    """Grounding DINO's and SAM 2.1 Hiera tiny's real classes at full size, with random weights."""
    import transformers

    made = load_tiny(CLASSES, device=device)
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
    grounder._captions = Captions(scorer, load_prompts(list(CLASSES)))
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
    kinds = ["tiny"] + (["full size"] if options.full else [])
    for kind in kinds:
        models = (
            full_size(options.device)
            if kind != "tiny"
            else load_tiny(CLASSES, device=options.device)
        )
        counts: Sequence[int] = (1, 10, 100)
        if options.quick:
            counts = (1,)
        elif kind != "tiny" and options.device == "cpu":
            counts = (1, 10)
        for count in counts:
            for what, run in (("stills", _stills), ("video frames", _video)):
                frames = 2 if options.quick or (kind != "tiny" and options.device == "cpu") else 16
                wall, bare, stages = run(models, count, frames, options.device)
                shares = ", ".join(f"{k} {v / wall:.0%}" for k, v in stages.most_common(4))
                busy = min(1.0, bare / wall)
                per = 1000 / frames
                rows.append(
                    [
                        kind,
                        what,
                        count,
                        wall * per,
                        bare * per,
                        100 * (wall / bare - 1),
                        100 * busy,
                        frames / wall,
                        memory_mb(options.device),
                        shares,
                    ]
                )
    yield Table(
        "Overhead over the bare models",
        f"{options.device}, {SIZE_HW[1]}x{SIZE_HW[0]}, every frame grounded, boxes of 2 %. "
        "Targets: at most 3 % on a CPU and 10 % on a GPU with models of full size.",
        ("models", "of", "boxes", "ms each", "bare ms", "overhead %", "busy %", "a second",
         "memory MB", "stages"),
        rows,
    )  # fmt: skip


Taken = tuple[float, float, Counter[str]]


def _image() -> Image:
    scene = draw_still(5, (640, 480)).image
    return np.ascontiguousarray(cv2.resize(scene, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC))


def _stills(models: Models, count: int, frames: int, device: str) -> Taken:
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

    return _taken(models, pipeline, run, frames, device)


def _video(models: Models, count: int, frames: int, device: str) -> Taken:
    boxes = grid_boxes(count, SIZE_HW)
    pipeline = models.pipeline(
        FixedBoxes(models.detector, {0: boxes}), batch=8 if device == "cuda" else 1
    )
    image, item = _image(), Item("a.mp4", Path("a"), "video")

    def run(number: int) -> None:
        source = (Frame(item, image.copy(), n, n / 25) for n in range(number))
        for _ in pipeline.video(source).provisional():
            pass

    return _taken(models, pipeline, run, frames, device)


def _taken(
    models: Models, pipeline: Any, run: Callable[[int], None], frames: int, device: str
) -> Taken:
    run(1)
    pipeline.stages.seconds.clear()
    bare = Bare(device)
    with ExitStack() as stack:
        for module in _modules(models):
            bare.watch(module, stack)
        stack.enter_context(bare.while_in(models.segmenter.memory, "_recall"))
        begun = time.perf_counter()
        run(frames)
        if device == "cuda":
            torch.cuda.synchronize()
        wall = time.perf_counter() - begun
    return wall, bare.seconds, Counter(pipeline.stages.seconds)
