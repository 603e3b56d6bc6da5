"""Turn folders of images and videos plus a class list into a training-ready dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annotate.api import Annotator, run
    from annotate.run_folder import Run

__all__ = ["Annotator", "Run", "run"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use: a wrong command line must not wait for torch."""
    if name == "Run":
        from annotate.run_folder import Run

        return Run
    if name in __all__:
        from annotate import api

        return getattr(api, name)
    raise AttributeError(f"module 'annotate' has no attribute {name!r}")
