"""Where models compute."""

from __future__ import annotations

import torch

from annotate.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of that name, `auto` being the best one here.

    On CUDA, TF32 is switched off: what is not in half precision is meant to be float32.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, here in present.items() if here)
    if name not in present:
        raise ConfigError(f"device={name}: expected auto, cuda, mps or cpu")
    if not present[name]:
        raise ConfigError(f"device={name}: PyTorch sees no such device here; use device=auto")
    if name == "cuda":
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def shares_passes(device: torch.device) -> bool:
    """Whether pictures are faster together than one by one; a CPU's caches hold one at best."""
    return device.type != "cpu"
