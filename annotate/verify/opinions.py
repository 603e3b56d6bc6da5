"""A verifier as the pipeline asks it: instances in, the same with an opinion on each out."""

from __future__ import annotations

from dataclasses import replace

from annotate.data.types import Image, Instance
from annotate.models.memory_limit import MemoryLimit
from annotate.verify.base import Verifier


class Opinions:
    """Asks a verifier for so many instances at a time as it takes, and as memory allows."""

    def __init__(self, verifier: Verifier, batch: int) -> None:
        """`batch`: instances in one pass, at most."""
        self._verifier, self._batch = verifier, batch
        self._at_once = MemoryLimit("crops")

    def given(self, image: Image, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """The instances in their order, with `verified`. MemoryError: one alone is too much."""
        passes = self._at_once.slices(
            instances, lambda some: self._verifier.opinions(image, some, self._batch)
        )
        opinions = [float(value) for some in passes for value in some]
        return tuple(
            replace(instance, verified=opinion)
            for instance, opinion in zip(instances, opinions, strict=True)
        )
