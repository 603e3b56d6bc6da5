"""The grounders of tests/ground/made, each made and loaded once."""

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.data.types import ClassList, Frame, Image, Item
from annotate.discover.class_list import load_prompts
from annotate.ground.base import Candidates, Grounder

MADE = Path(__file__).parent / "made"
NAMES = sorted(p.stem for p in MADE.glob("*.py") if "def overrides" in p.read_text())
CLASSES = load_prompts(["red circle: red circle, red disc", "blue square"])


@cache
def overrides(name: str) -> tuple[str, ...]:
    """What the command line says to use one; what it needs is written."""
    module = importlib.import_module(f"tests.ground.made.{name}")
    return tuple(module.overrides(Path(mkdtemp(prefix=f"{name}-"))))


@cache
def grounder(name: str) -> Grounder:
    """One that looks for CLASSES, on the CPU."""
    return loaded(name, CLASSES)


def loaded(name: str, classes: ClassList, *more: str) -> Grounder:
    """One that looks for these classes."""
    made = fresh(name, *more)
    made.load(classes)
    return made


def fresh(name: str, *more: str) -> Grounder:
    """One that is not loaded."""
    arguments = ["models=tiny", "device=cpu", *overrides(name), *more]
    return typed(compose(arguments, "config"), ModelsCommand).grounder.make(Grounder)


def picture(h: int = 45, w: int = 61, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (h, w, 3), dtype=np.uint8)


def found(made: Grounder, images: Sequence[Image], floor: float = 0.0) -> list[Candidates]:
    """In stills `0.png`, `1.png`, ..."""
    frames = [Frame(Item(f"{n}.png", Path(f"{n}.png")), i) for n, i in enumerate(images)]
    return made.find_in(frames, floor)
