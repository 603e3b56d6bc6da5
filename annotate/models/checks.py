"""What weights must be before they are used: whole, and a fit for their config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from annotate.errors import WeightsError, one_line


def damaged(model: str, path: Path, error: Exception | None = None) -> str:
    """The line for a file that is not whole."""
    reason = f" ({one_line(error)})" if error else ""
    way_out = f"delete {path.resolve()} and fetch it again"
    return f"{model}: {path} is truncated or damaged{reason}; {way_out}"


def raise_unfit(what: str, wrong: Mapping[str, Sequence[str]], way_out: str) -> None:
    """Raise WeightsError where any list of `wrong` names a tensor."""
    found = "; ".join(
        f"{len(names)} {how} ({_first(names)})" for how, names in wrong.items() if names
    )
    if found:
        raise WeightsError(f"{what}: tensors {found}; {way_out}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
