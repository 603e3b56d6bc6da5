"""Time of ways of doing one thing, in turns, so that what else a machine does falls on all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch

from annotate.runner import peak_memory


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


def peaks(device: str) -> tuple[str, ...]:
    """The columns of what `peaks_mb` gives."""
    return ("peak RAM, MB", "peak GPU memory, MB")[: 1 + (device == "cuda")]


def forget_peaks(device: str) -> None:
    """The next peak is that of what comes from here on, where the system can forget (Linux)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peaks_mb(device: str) -> list[float]:
    """The most that this process has taken since `forget_peaks`, of RAM and on a GPU."""
    found = [float(peak_memory.megabytes().get("RAM", 0))]  # since the process began
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found = [int(line.split()[1]) * 1024 / 1e6]
    if device == "cuda":
        found.append(torch.cuda.max_memory_allocated() / 1e6)
    return found
