"""What stands in the place of a memory where a segmenter has none: nothing is remembered."""

from __future__ import annotations

from typing import Any

import torch


class NoBank:
    """A bank that nothing is put into."""

    def forget(self, object_id: int) -> None:
        """See MemoryBank."""

    def forget_past(self, object_id: int) -> None:
        """See MemoryBank."""

    def forget_moments(self, object_id: int) -> None:
        """See MemoryBank."""


class NoMemory:
    """The part of Memory that is asked for where nothing can be carried."""

    side = 0
    state_classes: tuple[type, ...] = ()
    device = torch.device("cpu")

    def bank(self, *, max_anchors: int) -> Any:
        """See Memory."""
        return NoBank()

    def state(self, bank: NoBank) -> dict[str, Any]:
        """See Memory."""
        return {}

    def restore(self, bank: NoBank, state: dict[str, Any]) -> None:
        """See Memory."""
