"""Which weights, or which code, a run's records were made with."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which weights these are, for the run's record."""

    model: str
    revision: str | None  # as asked for
    commit: str | None  # what that was on the hub; None for a folder and for embedded weights
    sha256: str  # of the weights file; of the list of them where there are several
    weights: tuple[str, ...]  # file names


def of_class(kind: type) -> dict[str, Any]:
    """Of a model without weights: its code, by the sha256 of the file."""
    path = Path(inspect.getfile(kind))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"model": f"{kind.__module__}.{kind.__qualname__}", "sha256": digest}
