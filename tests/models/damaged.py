"""Copies of the embedded models to damage, and the line that refuses them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from annotate.errors import WeightsError
from annotate.models import hub
from annotate.models.layouts import SegmenterSource

CPU = torch.device("cpu")
TINY = Path(hub.__file__).parent / "tiny"


def refusal(call: Any, *args: Any) -> str:
    """The one line that a WeightsError says."""
    with pytest.raises(WeightsError) as caught:
        call(*args)
    line = str(caught.value)
    assert "\n" not in line
    return line


def grounder_folder(tmp_path: Path) -> Path:
    return shutil.copytree(TINY / "grounder", tmp_path / "grounder")


def segmenter_folder(tmp_path: Path) -> Path:
    return shutil.copytree(TINY / "segmenter", tmp_path / "segmenter")


def segmenter(folder: Path) -> SegmenterSource:
    return SegmenterSource(str(folder), "sam2.1_tiny.pt", "sam2.1_tiny.yaml")


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)
