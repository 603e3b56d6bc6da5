"""How time and memory grow: with the picture, its objects, the classes and the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from annotate.data.types import Frame, Image, Item
from annotate.synthetic.still import draw_still
from bench.fixed_boxes import FixedBoxes, grid_boxes
from bench.models import load_tiny
from bench.table import Cell, Options, Table
from bench.turns import forget_peaks, once, peaks, peaks_mb, seconds, slope

SIZES = {"640x480": (480, 640), "1920x1080": (1080, 1920), "3840x2160": (2160, 3840),
         "7680x4320": (4320, 7680)}  # fmt: skip
OBJECTS = (1, 3, 10, 30, 100, 300)
CLASSES = (1, 10, 80, 300, 1203)
PICTURES = (100, 400, 2_000)
FRAMES = (100, 300, 1_000)
VGA = SIZES["640x480"]

Rows = list[list[Cell]]


def measure(options: Options) -> Iterator[Table]:
    """What grows, by how much, and the power by which time and memory grow with it."""
    rows: Rows = []
    slopes: Rows = []
    for what, sizes, cost in (
        ("picture, megapixels; 15 objects of 64 px", _pixels(), _of_size),
        ("objects of a 640x480 picture", OBJECTS, _of_objects),
        ("classes asked for", CLASSES, _of_classes),
        ("pictures, one after the other", _long(PICTURES, options), _of_pictures),
        ("frames of a video", _long(FRAMES, options), _of_frames),
    ):
        some = sizes[: 1 if options.quick else None]
        taken, most = [], []
        for size in some:
            forget_peaks(options.device)
            taken.append(cost(size, options))
            most.append(peaks_mb(options.device))
            for stage, own in taken[-1].items():
                rows.append([what, size, stage, 1000 * own, 1000 * own / size, *most[-1]])
        if len(some) > 1:
            of_peaks = [slope(some, own) for own in zip(*most, strict=True)]
            for stage in taken[0]:
                slopes.append([what, stage, slope(some, [t[stage] for t in taken]), *of_peaks])
    yield Table(
        "Growth",
        f"`tiny` on {options.device}, one thread: ms in all (processor time on a CPU), and by each "
        "of what grows.",
        ("what grows", "to", "of", "ms", "ms each", *peaks(options.device)),
        rows,
    )
    if slopes:
        yield Table(
            "Growth: slopes",
            "The power by which time and memory grow, from a fit to logarithms: 1 is linear, 0 "
            "flat.",
            ("what grows", "of", "time", *peaks(options.device)),
            slopes,
        )


def _long(counts: Sequence[int], options: Options) -> Sequence[int]:
    """The longest takes a minute."""
    return [10] if options.quick else counts[: 2 + options.full]


def _pixels() -> list[float]:
    return [h * w / 1e6 for h, w in SIZES.values()]


def _image(size_hw: tuple[int, int]) -> Image:
    scene = draw_still(5, (640, 480)).image
    if size_hw == scene.shape[:2]:
        return scene
    return np.ascontiguousarray(cv2.resize(scene, size_hw[::-1], interpolation=cv2.INTER_LINEAR))


def _still(boxes: Any, size_hw: tuple[int, int], options: Options) -> dict[str, float]:
    """Seconds of a still without its grounding: all of it, and that of its masks alone."""
    models = load_tiny(["red circle"], device=options.device)
    pipeline = models.pipeline(FixedBoxes(models.detector, {0: boxes}, looks=False))
    image, item = _image(size_hw), Item("a.png", Path("a.png"))
    (whole,) = seconds(
        lambda: pipeline.stills([Frame(item, image)]), repeats=3, device=options.device
    )
    return {"all but grounding": whole, "masks": pipeline.stages.seconds["masks"] / 4}


def _of_size(megapixels: float, options: Options) -> dict[str, float]:
    size_hw = next(s for s in SIZES.values() if s[0] * s[1] / 1e6 == megapixels)
    share = 64 * 64 / (size_hw[0] * size_hw[1])
    return _still(grid_boxes(15, size_hw, share=share), size_hw, options)


def _of_objects(objects: float, options: Options) -> dict[str, float]:
    return _still(grid_boxes(int(objects), VGA, share=0.01), VGA, options)


def _of_classes(classes: float, options: Options) -> dict[str, float]:
    colours, things = ("red", "blue", "green", "amber"), int(classes)
    names = [f"{colours[n % 4]} thing {n}" if n else "red circle" for n in range(things)]
    models = load_tiny(names, device=options.device)
    frame = Frame(Item("a.png", Path("a.png")), _image(VGA))
    (grounding,) = seconds(lambda: models.detector.find([frame]), repeats=1, device=options.device)
    return {"grounding": grounding}


def _spread(frames: float, options: Options, run: Callable[[Any, Sequence[Frame]], object],
            media: Any) -> dict[str, float]:  # fmt: skip
    models = load_tiny(["red circle"], device=options.device)
    pipeline = models.pipeline(FixedBoxes(models.detector, {0: grid_boxes(3, VGA)}, looks=False))
    small = np.ascontiguousarray(_image(VGA)[::2, ::2])
    item = Item("a", Path("a"), media)
    made = [Frame(item, small, n, n / 25) for n in range(int(frames))]
    run(pipeline, made[:2])
    return {"all but grounding": once(lambda: run(pipeline, made), options.device)}


def _of_pictures(pictures: float, options: Options) -> dict[str, float]:
    def run(pipeline: Any, frames: Sequence[Frame]) -> None:
        for frame in frames:
            pipeline.stills([frame])

    return _spread(pictures, options, run, "image")


def _of_frames(frames: float, options: Options) -> dict[str, float]:
    def run(pipeline: Any, frames: Sequence[Frame]) -> None:
        for _ in pipeline.video(frames).provisional():
            pass

    return _spread(frames, options, run, "video")
