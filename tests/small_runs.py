"""Runs on a few small stills, and the bytes that they make."""

from pathlib import Path

from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.runner import job
from annotate.synthetic.still import draw_still


def settings(dataset: Path, out: Path, *more: str) -> AnnotateCommand:
    argv = [
        f"dataset={dataset}", f"out={out}", "prompts=[red circle,blue triangle]", "models=tiny",
        "runner.part_items=2", "contact_sheet=false", *more,
    ]  # fmt: skip
    return typed(compose(argv, "config"), AnnotateCommand)


def run(dataset: Path, out: Path, *more: str):
    return job.annotate_dataset(settings(dataset, out, *more))


def still(path: Path, seed: int) -> Path:
    PilImage.fromarray(draw_still(seed, (96, 96), combos=[("red", "circle")]).image).save(path)
    return path


def tree(folder: Path, *parts: str) -> dict[str, bytes]:
    """Every file below some folders of a run, but for notes, which are hidden."""
    paths = (p for part in parts for p in sorted((folder / part).rglob("[!.]*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def draw_stills(folder: Path) -> Path:
    """Five of them."""
    folder.mkdir()
    for seed in range(5):
        still(folder / f"{seed}.png", seed)
    return folder
