"""Between main memory and a device: few copies, for each one waits or is waited for."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Tensors of floats of one device in main memory, as float32, in a single copy.

    The host waits once, until all of them are computed.
    """
    if tensors[0].device.type == "cpu":
        return [t.float() for t in tensors]
    packed = torch.cat([t.float().reshape(-1) for t in tensors]).cpu()
    parts = torch.split(packed, [t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


@lru_cache(maxsize=512)
def indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices on a device; the same ones come again and again, and are sent there once."""
    return torch.tensor(values, dtype=torch.long, device=device)
