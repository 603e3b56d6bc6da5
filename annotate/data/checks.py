"""Checks at the border: a number out of its range is named once, with the range."""

from __future__ import annotations

from pydantic import AfterValidator


def within(low: float, high: float = float("inf")) -> AfterValidator:
    """For annotations of settings: `Annotated[float, within(0, 1)]` is a number from 0 to 1."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(_limits(low, high))
        return value

    return AfterValidator(check)


def _limits(low: float, high: float) -> str:
    return f">= {low:g}" if high == float("inf") else f"{low:g}..{high:g}"
