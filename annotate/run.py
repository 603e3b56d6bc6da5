"""A run folder, as everything after annotation reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import yaml

from annotate import records
from annotate.errors import StorageError
from annotate.prompts import class_list_from_yaml
from annotate.types import ClassList, FrameRecord


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `path` is its folder, `root` the dataset's, `classes` what was asked for."""

    path: Path
    root: Path
    classes: ClassList

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder written before; StorageError names what is missing."""
        path = Path(path)
        config = _read_yaml(path / "config.yaml")
        classes = class_list_from_yaml(_read_yaml(path / "classes.yaml"), str(path / "classes.yaml"))
        return cls(path=path, root=Path(config["dataset"]["root"]), classes=classes)

    @property
    def records_dir(self) -> Path:
        return self.path / "records"

    def frames(self) -> Iterator[FrameRecord]:
        """Every record ordered by item and frame index, streamed; masks decode on demand."""
        return records.read_records(self.records_dir)

    def table(self) -> pads.Dataset:
        """The records as a pyarrow dataset."""
        return records.dataset(self.records_dir)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"{path}: not found; run=DIR must name a folder that `python -m annotate` wrote"
        ) from error
