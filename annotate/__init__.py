"""Turn folders of images and videos plus a class list into a training-ready dataset."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before torch loads OpenMP: threads that spin while they wait for each other slow a run down
# 25-fold as soon as something else needs a core (measured: 0.5 against 12 pictures a second).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "AnnotateError",
    "Annotated",
    "Annotator",
    "BrokenVideoError",
    "ClassList",
    "ClassSpec",
    "ConfigError",
    "FolderInUseError",
    "FrameRecord",
    "Instance",
    "MediaError",
    "PixelsError",
    "PromptError",
    "Rle",
    "Run",
    "RunSummary",
    "StorageError",
    "WeightsError",
    "__version__",
    "open_run",
    "run",
]

if TYPE_CHECKING:
    from annotate.api import Annotator, open_run, run
    from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
    from annotate.errors import (
        AnnotateError,
        BrokenVideoError,
        ConfigError,
        FolderInUseError,
        MediaError,
        PixelsError,
        PromptError,
        StorageError,
        WeightsError,
    )
    from annotate.record.run_folder import Run
    from annotate.record.run_summary import RunSummary
    from annotate.report.annotated import Annotated

    __version__: str
else:
    _PLACES = {
        "api": ("Annotator", "open_run", "run"),
        "data.types": ("ClassList", "ClassSpec", "FrameRecord", "Instance", "Rle"),
        "record.run_folder": ("Run",),
        "record.run_summary": ("RunSummary",),
        "report.annotated": ("Annotated",),
    }
    _PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

    def __getattr__(name: str) -> Any:
        """Load the public names on first use: a wrong command line must not wait for torch."""
        if name == "__version__":
            return import_module("annotate.record.versions").program()
        if name not in __all__:
            raise AttributeError(f"module 'annotate' has no attribute {name!r}")
        return getattr(import_module(f"annotate.{_PLACE_OF.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
