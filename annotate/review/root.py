"""Where the pictures of a run are, which FiftyOne must be able to read."""

from __future__ import annotations

from pathlib import Path

from annotate.errors import ConfigError
from annotate.record.run_folder import Run


def root_here(run: Run) -> Path:
    """The folder of the pictures. Raises ConfigError when they are not on this machine."""
    if isinstance(run.root, str):
        raise ConfigError(
            f"run={run.shown()}: its pictures are on {run.root}, and FiftyOne shows files of this "
            "machine; annotate a mounted copy instead"
        )
    return run.root
