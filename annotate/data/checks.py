"""Checks at the border: a number out of its range is named once, with the range."""

from __future__ import annotations

import math
from typing import Any

from pydantic import AfterValidator, BeforeValidator


def within(low: float, high: float = float("inf")) -> AfterValidator:
    """For annotations of settings: `Annotated[float, within(0, 1)]` is a number from 0 to 1."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(_limits(low, high))
        return value

    return AfterValidator(check)


def word_or_range(*words: str) -> BeforeValidator:
    """For annotations of settings that are one of some words, or `[low, high]`."""

    def check(value: Any) -> Any:
        if value in words:
            return value
        ends = value if isinstance(value, (list, tuple)) and len(value) == 2 else ()
        numbers = [e for e in ends if type(e) in (int, float) and math.isfinite(e)]
        if len(numbers) != 2 or not numbers[0] < numbers[1]:
            raise ValueError(f"{', '.join(words)} or [low, high] with low < high")
        return value

    return BeforeValidator(check)


def _limits(low: float, high: float) -> str:
    return f">= {low:g}" if high == float("inf") else f"{low:g}..{high:g}"
