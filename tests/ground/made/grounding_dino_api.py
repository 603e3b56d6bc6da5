"""Grounding DINO 1.6 of the cloud, as a local service plays it."""

from pathlib import Path

from tests.ground.made import dino_x


def overrides(folder: Path) -> list[str]:
    _, *more = dino_x.overrides(folder)
    return ["ground=grounding_dino_api", *more]
