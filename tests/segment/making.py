"""The segmenters of tests/segment/made, each made and loaded once."""

import importlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.segment.base import Segmenter

MADE = Path(__file__).parent / "made"
NAMES = sorted(p.stem for p in MADE.glob("*.py") if "def overrides" in p.read_text())


@cache
def overrides(name: str) -> tuple[str, ...]:
    """What the command line says to use one; its checkpoint is written."""
    module = importlib.import_module(f"tests.segment.made.{name}")
    return tuple(module.overrides(Path(mkdtemp(prefix=f"{name}-"))))


@cache
def segmenter(name: str) -> Segmenter:
    """One that is loaded, on the CPU."""
    loaded = fresh(name)
    loaded.load()
    return loaded


def fresh(name: str) -> Segmenter:
    """One that is not loaded."""
    arguments = ["models=tiny", "device=cpu", *overrides(name)]
    return typed(compose(arguments, "config"), ModelsCommand).segmenter.make(Segmenter)
