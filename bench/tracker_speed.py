"""Frames per second of the tracker against sam2's own video predictor: `-m bench.tracker_speed`.

Both carry the same objects through the same frames with the same weights, from 8-bit pictures to
masks at frame size, in turns; a figure is the median of the turns. Memories are full from the
start: what the first frame left is repeated for every frame that attention reaches, for its cost
does not depend on what it says. On a CPU the processor's time is taken, which other work on the
machine blurs less than the clock's; with one thread they are the same on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from annotate.data.types import Image
from annotate.models import sam2_architecture
from annotate.models.devices import choose_device
from annotate.models.hub import fetch
from annotate.models.layouts import SegmenterSource, packaged_architecture
from annotate.models.sam2_checkpoint import load_sam2
from annotate.segment.base import Prediction
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.segment.upsampling import upsample_masks
from bench.models import sam2_predictor, sam2_state
from bench.table import Cell, Options, Table

SIZE_HW = (480, 640)
FULL_SIZE = "configs/sam2.1/sam2.1_hiera_t.yaml"
FILLED = 16  # frames of memory, with the prompted one: what pointers reach


class Theirs:
    """sam2's SAM2VideoPredictor."""

    def __init__(self, predictor: Any, images: Sequence[Image], masks: Sequence[Tensor]) -> None:
        self._predictor = predictor
        self._state = sam2_state(predictor, images)
        for number, mask in enumerate(masks, start=1):
            predictor.add_new_mask(self._state, 0, number, mask)
        self.step(1)
        for kept in self._state["output_dict_per_obj"].values():
            first = kept["non_cond_frame_outputs"][1]
            kept["non_cond_frame_outputs"].update(dict.fromkeys(range(2, FILLED), first))

    def step(self, t: int) -> Tensor:
        """Masks (k, h, w) of frame `t`."""
        steps = self._predictor.propagate_in_video(self._state, t, 0)
        _, _, logits = next(iter(steps))
        masks: Tensor = logits[:, 0] > 0
        return masks


class Ours:
    """This package's tracker core."""

    def __init__(self, memory: Sam2Memory, images: Sequence[Image], masks: Tensor) -> None:
        self._memory, self._images = memory, images
        self._ids = list(range(1, len(masks) + 1))
        self._bank = memory.bank(max_anchors=1)
        embedding = memory.image.embed(images[0])
        seeded = memory.seed_masks(embedding, masks)
        features = memory.encode(embedding, seeded.logits, seeded.present, prompted=True)
        self._bank.anchor(0, self._ids, features, seeded.pointers)
        said, features = self._carry(1)
        for t in range(1, FILLED):
            self._bank.remember(t, self._ids, features, said.pointers)

    def step(self, t: int) -> Tensor:
        """Masks (k, h, w) of frame `t`."""
        said, features = self._carry(t)
        self._bank.remember(t, self._ids, features, said.pointers)
        return upsample_masks(said.logits, SIZE_HW)

    def _carry(self, t: int) -> tuple[Prediction, Tensor]:
        embedding = self._memory.image.embed(self._images[t])
        said = self._memory.carry(embedding, self._bank, self._ids, t)
        return said, self._memory.encode(embedding, said.logits, said.present, prompted=False)


def squares(count: int, size_hw: tuple[int, int]) -> Tensor:
    """Bool masks (count, h, w) of squares on a grid of four columns."""
    h, w = size_hw
    masks = torch.zeros(count, h, w, dtype=torch.bool)
    side = h // 8
    for number in range(count):
        y, x = (number // 4) * h // 4, (number % 4) * w // 4
        masks[number, y : y + side, x : x + side] = True
    return masks


@torch.inference_mode()
def seconds_per_frame(
    model: torch.nn.Module, predictor: Any, objects: int, *, frames: int, repeats: int
) -> tuple[list[float], list[float]]:
    """Of sam2's predictor and of ours, one figure per turn of `frames` frames."""
    device = next(model.parameters()).device
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    images = [image] * (FILLED + frames * repeats)
    masks = squares(objects, SIZE_HW)
    with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        theirs = Theirs(predictor, images, list(masks))
        ours = Ours(Sam2Memory(Sam2Image(model, device=device)), images, masks)
        figures: tuple[list[float], list[float]] = [], []
        for turn in range(repeats):
            start = FILLED + turn * frames
            for kept, step in zip(figures, (theirs.step, ours.step), strict=True):
                kept.append(_time(step, range(start, start + frames), device))
    return figures


def _time(step: Callable[[int], Tensor], frames: range, device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    begun = clock()
    for t in frames:
        step(t).cpu()  # waits for the device
    return (clock() - begun) / len(frames)


def load(kind: str, device: torch.device) -> tuple[torch.nn.Module, Any]:
    """The embedded tiny model, or SAM 2.1 Hiera tiny at full size with random weights."""
    if kind == "tiny":
        source = SegmenterSource("embedded:tiny/segmenter", "sam2.1_tiny.pt", "sam2.1_tiny.yaml")
        model, _ = load_sam2(source, device)
        return model, sam2_predictor(source.yaml(fetch(source).folder), model)
    architecture = packaged_architecture(FULL_SIZE)
    assert architecture is not None
    torch.manual_seed(0)
    model = sam2_architecture.build(architecture).to(device)
    return model, sam2_predictor(architecture, model)


def measure(options: Options) -> Iterator[Table]:
    """Milliseconds a frame of both, by the number of objects."""
    kinds = ("tiny", "full") if options.full and options.device == "cuda" else ("tiny",)
    rows: list[list[Cell]] = []
    device = choose_device(options.device)
    for kind in kinds:
        model, predictor = load(kind, device)
        for objects in (1,) if options.quick else (1, 4, 16):
            turns = {"frames": 1, "repeats": 1} if options.quick else {"frames": 5, "repeats": 5}
            theirs, ours = seconds_per_frame(model, predictor, objects, **turns)
            gain = median(a / b for a, b in zip(theirs, ours, strict=True))
            rows.append([kind, objects, median(theirs) * 1000, median(ours) * 1000, gain])
    yield Table(
        "A video frame: sam2's own predictor and this tracker",
        f"8-bit pictures of {SIZE_HW[1]}x{SIZE_HW[0]} px to masks of that size, memories full, on "
        f"{options.device}. Targets: not slower on a CPU; on a GPU 2 times as fast with 4 objects "
        "and 3 times with 16.",
        ("model", "objects", "sam2, ms", "annotate, ms", "times as fast"),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=("tiny", "full"), nargs="+", default=("tiny",))
    parser.add_argument("--objects", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--frames", type=int, default=5, help="per turn")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    print("| model | objects | sam2, ms / frame | annotate, ms / frame | times as fast |")
    print("|---|---|---|---|---|")
    for kind in options.model:
        model, predictor = load(kind, device)
        for objects in options.objects:
            theirs, ours = seconds_per_frame(
                model, predictor, objects, frames=options.frames, repeats=options.repeats
            )
            gain = median(a / b for a, b in zip(theirs, ours, strict=True))
            cells = (f"{median(theirs) * 1000:.1f}", f"{median(ours) * 1000:.1f}", f"{gain:.2f}")
            print(f"| {kind} | {objects} |", " | ".join(cells), "|", flush=True)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{options.threads} threads"
    print(f"\n{device.type}, {name}; frames of {SIZE_HW[1]}x{SIZE_HW[0]} px")


if __name__ == "__main__":
    main()
