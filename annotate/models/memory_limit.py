"""How many at a time: halved when memory runs out, regrown when it has sufficed for a while."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import psutil
import torch

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

CALM = 32  # passes without trouble until twice as many are tried again
GB = 10**9


def over(ceiling_gb: float | None) -> Callable[[], bool]:
    """Whether this process takes more memory than a ceiling; never where there is none."""
    if ceiling_gb is None:
        return lambda: False
    process = psutil.Process()
    return lambda: process.memory_info().rss > ceiling_gb * GB


class MemoryLimit:
    """Cuts rows into slices that fit in memory. What is computed of a row must not depend on it."""

    def __init__(self, what: str, *, crowded: Callable[[], bool] = lambda: False) -> None:
        """`what` rows are, for the log; `crowded` says that memory is scarce before it runs out."""
        self._what = what
        self._crowded = crowded
        self._most: int | None = None  # at a time; None: no limit is known
        self._calm = 0

    def slices(self, rows: Sequence[T], work: Callable[[Sequence[T]], R]) -> Iterator[R]:
        """`work` on slices of the rows, in their order; MemoryError when one alone does not fit."""
        at = 0
        while at < len(rows):
            size = len(rows) - at if self._most is None else min(self._most, len(rows) - at)
            if size > 1 and self._crowded():
                size = self._shrink(size)
            try:
                done = work(rows[at : at + size])
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                # The traceback holds the tensors of the pass that failed.
                error.__traceback__ = None
                if size == 1:
                    raise MemoryError(f"one of the {self._what} alone does not fit") from None
                self._shrink(size)
                continue
            yield done
            at += size
            self._regrow(size)

    def _shrink(self, size: int) -> int:
        self._most, self._calm = max(1, size // 2), 0
        log.warning("memory is short: %d of %d %s at a time", self._most, size, self._what)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._most

    def _regrow(self, size: int) -> None:
        """A limit that was kept for a while, and was felt, is doubled."""
        if self._most is None or size < self._most:
            return
        self._calm += 1
        if self._calm >= CALM and not self._crowded():
            self._most, self._calm = 2 * self._most, 0


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA and Metal have a type or a text of their own; the CPU's allocator has only a text."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)
