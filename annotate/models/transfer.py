"""Between main memory and a device: few copies, for each one waits or is waited for."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one device in main memory, floats as float32, in a single copy.

    The host waits once, until all of them are computed.
    """
    device = tensors[0].device
    if device.type == "cpu":
        return [t.float() if t.is_floating_point() else t for t in tensors]
    packed = torch.cat([t.float().reshape(-1) for t in tensors]).cpu()
    sizes = [t.numel() for t in tensors]
    return [
        part.view(t.shape).to(torch.float32 if t.is_floating_point() else t.dtype)
        for part, t in zip(torch.split(packed, sizes), tensors, strict=True)
    ]


@lru_cache(maxsize=512)
def indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices on a device; the same ones come again and again, and are sent there once."""
    return torch.tensor(values, dtype=torch.long, device=device)
