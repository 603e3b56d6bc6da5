"""How many at a time: halved when memory runs out, regrown when it has sufficed for a while."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import psutil
import torch

from annotate.errors import AnnotateError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

CALM = 32  # passes without trouble until twice as many are tried again
GB = 10**9

# How memory that ran out is said where the type of the error does not say it: by the allocators of
# CUDA, Metal, the CPU and OpenCV, and by libraries whose own work space cannot be had any more.
SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "insufficient memory",
    "bad allocation",
    "std::bad_alloc",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED and its kin of cuDNN, cuSOLVER, cuFFT
    "host_allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
    "cublas_status_not_initialized",  # its handle is made when it is first asked for
    "cudnn_status_not_initialized",
    "unable to find an engine to execute this computation",  # none whose work space would fit
)


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

    def slices(
        self, rows: Sequence[T], work: Callable[[Sequence[T]], R], *, most: int | None = None
    ) -> Iterator[R]:
        """`work` on slices of the rows, in their order, `most` of them at a time.

        `work` may be asked again for rows at which it failed. MemoryError when one alone does not
        fit, not even after all that can be freed was.
        """
        at = 0
        last_try = False
        while at < len(rows):
            size = min(n for n in (len(rows) - at, self._most, most) if n is not None)
            if size > 1 and self._crowded():
                size = self._shrink(size)
            try:
                done = work(rows[at : at + size])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The traceback holds the tensors of the pass that failed.
                error.__traceback__ = None
                if size == 1 and last_try:
                    raise MemoryError(f"one of the {self._what} alone does not fit") from None
                last_try = size == 1
                self._shrink(size)
                continue
            yield done
            at += size
            last_try = False
            self._regrow(size)

    def alone(self, work: Callable[[], R]) -> R:
        """`work` that cannot be divided: tried again when all that can be freed was."""
        (done,) = self.slices([None], lambda _: work())
        return done

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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the device or of the host ran out, however a library says so.

    Not that of a service, whose words an error of ours may carry.
    """
    if isinstance(error, AnnotateError):
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return any(sign in said for sign in SIGNS)
