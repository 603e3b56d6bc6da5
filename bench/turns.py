"""Time of ways of doing one thing, in turns, so that what else a machine does falls on all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from statistics import median

import psutil
import torch


def seconds(
    *ways: Callable[[], object], repeats: int, device: str, warm: bool = True
) -> list[float]:
    """The median of each way: processor time on a CPU, the clock's where a device computes."""
    if warm:
        for way in ways:
            way()
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, own in zip(ways, taken, strict=True):
            own.append(once(way, device))
    return [median(own) for own in taken]


def once(way: Callable[[], object], device: str) -> float:
    """Seconds of one call, until the device is done with it."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begun = clock()
    way()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power by which values grow with sizes: 1 is linear, 0 flat. Of a fit to logarithms."""
    xs, ys = ([math.log(v) for v in some] for some in (sizes, values))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return over / sum((a - x) ** 2 for a in xs)


def memory_mb(device: str) -> float:
    """RAM of this process now; on a GPU the most that tensors took there."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20
