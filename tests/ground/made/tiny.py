"""The embedded Grounding DINO."""

from pathlib import Path


def overrides(folder: Path) -> list[str]:
    return ["ground=tiny"]
