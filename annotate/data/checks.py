"""Checks at the border: a number out of its range is named once, with the range."""

from __future__ import annotations

from annotate.errors import ConfigError


def in_range(key: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise ConfigError unless low <= value <= high."""
    if not low <= value <= high:
        limits = f">= {low:g}" if high == float("inf") else f"{low:g}..{high:g}"
        raise ConfigError(f"{key}={value}: expected {limits}")


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `known`."""
    if value not in known:
        raise ConfigError(f"{key}={value}: expected one of {', '.join(known)}")
