"""Where this machine keeps copies of what lies on a store."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$ANNOTATE_CACHE`, else `annotate` in the user's cache folder.

    It should be on a local disk with room for a run folder. No setting of a run: machines differ.
    """
    if own := os.environ.get("ANNOTATE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "annotate"
