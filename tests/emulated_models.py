"""Every model on a device that is emulated, against itself on the CPU; what differs, as JSON.

A program of its own, because the emulated device stays in the process. Arguments: names of
grounders (`ground:NAME`), segmenters (`segment:NAME`) and verifiers (`verify:NAME`).
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.data.types import Instance
from annotate.models import devices
from annotate.segment.finishing import cut_boxes
from annotate.verify.base import Verifier
from bench.emulated_device import NAME, choosing, emulated
from tests.ground import making as grounders
from tests.segment import making as segmenters

PICTURES = [
    np.random.default_rng(seed).integers(0, 255, (45, 61, 3), dtype=np.uint8) for seed in (0, 1)
]
RESIZING = "torchvision.transforms.v2.functional._geometry"
BOXES = torch.tensor([[3.0, 4, 30, 40], [10, 10, 50, 44], [0, 0, 61, 45]])


def ground(name: str, device: str) -> list[Any]:
    """Boxes, scores and classes of each picture."""
    made = grounders.fresh(name)
    for part in (made, *made.parts):
        if hasattr(part, "_device"):
            part._device = device
    made.load(grounders.CLASSES)
    found = made.find(PICTURES, 0.05)
    return [
        torch.as_tensor(v).cpu().numpy().astype(float)
        for some in found
        for v in (some.boxes_xyxy, some.scores, some.class_ids)
    ]


def segment(name: str, device: str) -> list[Any]:
    """Logits and estimates of boxes in each picture."""
    made: Any = segmenters.fresh(name)
    if hasattr(made, "_device"):
        made._device = device
    made.load()
    told = made.decode_all(made.embed(PICTURES), [BOXES, BOXES[:1]])
    return [value.cpu().numpy() for both in told for value in both]


def verify(name: str, device: str) -> list[Any]:
    """Opinions on boxes of a picture, which are their own masks."""
    asked = compose(["models=tiny", f"verify={name}", f"verify.device={device}"], "config")
    made = typed(asked, ModelsCommand).verifier.make(Verifier)
    made.load(grounders.CLASSES)
    size_hw = PICTURES[0].shape[:2]
    instances = [
        Instance("", row % 2, "", 0.5, cut.box_xyxy, cut.mask, cut.area, 1.0)
        for row, cut in cut_boxes(BOXES.numpy(), size_hw)
    ]
    return [made.opinions(PICTURES[0], instances, 2)]


KINDS: dict[str, Callable[[str, str], list[Any]]] = {
    "ground": ground,
    "segment": segment,
    "verify": verify,
}


def difference(kind: str, name: str) -> str:
    """What is wrong on the emulated device, "" if it is as on the CPU."""
    # On a CPU torchvision resizes bytes as bytes, elsewhere as floats: one level of 255 apart, of
    # which models of random weights make much.
    with patch(f"{RESIZING}._do_native_uint8_resize_on_cpu", lambda *_: False):
        return _difference(kind, name)


def _difference(kind: str, name: str) -> str:
    plain = KINDS[kind](name, "cpu")
    choose = choosing(devices.choose_device)
    try:
        with emulated() as counts, patch.object(devices, "choose_device", choose):
            there = KINDS[kind](name, NAME)
            asked = counts.calls
    except Exception:
        return traceback.format_exc()[-1500:]
    if not asked:
        return "nothing was asked of the device"
    if [v.shape for v in plain] != [v.shape for v in there]:
        return f"shapes {[v.shape for v in there]}, on the CPU {[v.shape for v in plain]}"
    apart = [float(np.abs(a - b).max(initial=0)) for a, b in zip(plain, there, strict=True)]
    return f"apart by {max(apart)}" if max(apart) > 1e-2 else ""


if __name__ == "__main__":
    print(json.dumps({asked: difference(*asked.split(":")) for asked in sys.argv[1:]}))
