"""Boxes only: nothing is made."""

from pathlib import Path


def overrides(folder: Path) -> list[str]:
    return ["segment=none"]
