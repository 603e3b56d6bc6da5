"""Pictures on the device of the models: each is sent there once, however many look at it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from annotate.data.types import Image

# Bytes of pictures that wait on a device for whoever looks at them next; the newest always waits.
# In main memory a copy costs less than holding many.
KEPT = 256 * 2**20

_Key = tuple[int, torch.device]
_held: OrderedDict[_Key, tuple[weakref.ref[Image], Tensor]] = OrderedDict()
_lock = threading.Lock()


def on_device(image: Image, device: torch.device) -> Tensor:
    """An RGB picture (h, w, 3) as planes (3, h, w), uint8, where the models are.

    Who looks at it after that gets the same tensor. Neither may change while the picture lives:
    those of callers are copied before they come here (`annotate.decode.pixels`).
    """
    key = id(image), device
    with _lock:
        known = _held.get(key)
        if known is not None and known[0]() is image:
            _held.move_to_end(key)
            return known[1]
    planes = _sent(image, device)
    with _lock:
        _held[key] = weakref.ref(image, lambda _: _held.pop(key, None)), planes
        _held.move_to_end(key)
        limit = 0 if device.type == "cpu" else KEPT
        while len(_held) > 1 and sum(held.numel() for _, held in _held.values()) > limit:
            _held.popitem(last=False)
    return planes


def _sent(image: Image, device: torch.device) -> Tensor:
    if device.type == "cpu":  # OpenCV is seven times as fast at this as torch
        planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, [planes[0], planes[1], planes[2]])
        return torch.from_numpy(planes)
    # A copy: decoded pictures may be read-only, which torch cannot express.
    pixels = torch.from_numpy(np.array(image))
    if device.type == "cuda":  # from pinned memory, and nobody waits for it
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True).permute(2, 0, 1).contiguous()
