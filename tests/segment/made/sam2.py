"""The embedded SAM 2.1."""

from pathlib import Path


def overrides(folder: Path) -> list[str]:
    return ["segment=tiny"]
