"""Turn folders of images and videos plus a class list into a training-ready dataset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Before torch loads OpenMP: threads that spin while they wait for each other slow a run down
# 25-fold as soon as something else needs a core (measured: 0.5 against 12 pictures a second).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from annotate.api import Annotator, run
    from annotate.record.run_folder import Run

__all__ = ["Annotator", "Run", "run"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use: a wrong command line must not wait for torch."""
    if name == "Run":
        from annotate.record.run_folder import Run

        return Run
    if name in __all__:
        from annotate import api

        return getattr(api, name)
    raise AttributeError(f"module 'annotate' has no attribute {name!r}")
