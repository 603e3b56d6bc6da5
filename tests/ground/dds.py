"""Grounders of the cloud that ask a local service, and pictures whose boxes are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.discover.class_list import load_prompts
from annotate.ground.base import Candidates, Grounder
from tests.dds_server import Dds
from tests.ground.made.dino_x import WITHOUT_WAITING

RGB = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 200, 20)}
BOXES = {"red": (20, 30, 60, 80), "blue": (100, 20, 150, 60)}  # xyxy px
FLOOR = 0.1


def picture(
    boxes: dict[str, tuple[int, int, int, int]] = BOXES, size_hw: tuple[int, int] = (100, 200)
) -> np.ndarray:
    image = np.full((*size_hw, 3), 230, np.uint8)
    for colour, (x0, y0, x1, y1) in boxes.items():
        image[y0:y1, x0:x1] = RGB[colour]
    return image


def shifted(by: int) -> np.ndarray:
    """One red box, elsewhere in each picture."""
    return picture({"red": (20 + by, 30, 60 + by, 80)})


def write_stills(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        PilImage.fromarray(shifted(5 * index)).save(folder / f"{index}.png")
    return folder


def arguments(dds: Dds, *more: str) -> list[str]:
    asked = ["segment=tiny", "ground=dino_x", f"ground.endpoint={dds.url}"]
    return [*asked, "ground.jpeg_quality=null", *WITHOUT_WAITING, *more]


@cache
def asked(prompts: str, *more: str) -> AnnotateCommand:
    """Composed once for many tests; nobody is at this endpoint."""
    nowhere = Dds("http://127.0.0.1:9")
    argv = ["dataset=.", f"prompts={prompts}", *arguments(nowhere, *more)]
    return typed(compose(argv, "config"), AnnotateCommand)


def loaded(dds: Dds, *more: str, prompts: str = "[red,blue]") -> Grounder:
    """A grounder with its classes."""
    settings = asked(prompts, *more)
    target = settings.grounder
    if not any(a.startswith("ground.endpoint=") for a in more):
        target = replace(target, arguments={**target.arguments, "endpoint": dds.url})
    grounder = target.make(Grounder)
    grounder.load(load_prompts(settings.prompts))
    return grounder


def boxes_of(candidates: Candidates) -> dict[str, tuple[float, ...]]:
    """By phrase."""
    rows = zip(candidates.phrases, candidates.boxes_xyxy.tolist(), strict=True)
    return {phrase: tuple(box) for phrase, box in rows}
