"""Numbers of models: half precision where it pays, float32 for what decides.

Backbones and attention run under autocast where a device has half precision. Heads do not: boxes,
logits, sigmoid and thresholds are computed in float32, or scores of near-equal boxes become equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

HALF = {"cuda": torch.bfloat16}  # by the kind of device


def autocast(device: torch.device) -> torch.autocast:
    """Half precision where it pays, float32 elsewhere."""
    half = HALF.get(device.type)
    if half is None:
        return torch.autocast("cpu", torch.bfloat16, enabled=False)
    return torch.autocast(device.type, half)


def name(device: torch.device) -> str:
    """The precision of models on a device, as a run notes it: `bfloat16` or `float32`."""
    return str(HALF.get(device.type, torch.float32)).removeprefix("torch.")


def run_in_float32(module: nn.Module, device: torch.device) -> None:
    """Have a part of a model, heads as a rule, compute in float32 whatever is around it."""
    forward: Callable[..., Any] = module.forward

    def in_full(*args: Any, **options: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return forward(*map(_whole, args), **{k: _whole(v) for k, v in options.items()})

    if device.type in HALF:
        module.forward = in_full


def _whole(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.float()
    return [_whole(v) for v in value] if isinstance(value, list) else value
