"""The forward passes of a run: what they take within it, and what they take alone, afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from annotate.models import precision
from annotate.models.devices import choose_device
from bench.models import Models

# Of SAM 2's model. Memory's attention is no module that is called: see `_watched`.
OF_SAM = (
    "forward_image", "sam_mask_decoder", "memory_encoder", "obj_ptr_proj", "mask_downsample",
)  # fmt: skip


@dataclass(slots=True)
class _Pass:
    """One of several passes on tensors of the same shapes."""

    run: Callable[..., object]
    args: tuple[Any, ...]
    options: dict[str, Any]
    half: bool  # whether it ran under autocast
    times: int = 0


class Passes:
    """Watches the models of a run: grounder, encoder, decoder, memory's attention and encoder."""

    def __init__(self, models: Models, device: str, *, kept: bool) -> None:
        """`kept`: one example of each shape, for `alone`; its tensors stay in memory."""
        self.seconds = 0.0  # within the run; of a CPU, for a device computes later
        self._models, self._device, self._keeps = models, choose_device(device), kept
        self._within = False
        self._passes: dict[Hashable, _Pass] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What runs now."""
        with ExitStack() as stack:
            for owner, name in _watched(self._models):
                run = getattr(owner, name)
                stack.enter_context(patch.object(owner, name, self._watch((id(owner), name), run)))
            yield

    def _watch(self, which: Hashable, run: Callable[..., object]) -> Callable[..., object]:
        def watched(*args: Any, **options: Any) -> object:
            if self._within:  # a part of another one
                return run(*args, **options)
            if self._keeps:
                self._keep(which, run, args, options)
            self._within, begun = True, time.perf_counter()
            try:
                return run(*args, **options)
            finally:
                self._within = False
                self.seconds += time.perf_counter() - begun

        return watched

    def _keep(
        self, which: Hashable, run: Callable[..., object], args: Any, options: dict[str, Any]
    ) -> None:
        args = tuple(args)
        if len(args) == 4 and hasattr(args[1], "recall"):  # a bank goes on; what it gives stays
            embedding, bank, ids, moment = args
            args = embedding, _Recalled(list(bank.recall(ids, moment))), list(ids), moment
        half = torch.is_autocast_enabled(self._device.type)
        key = which, half, shapes(args), shapes(options)
        self._passes.setdefault(key, _Pass(run, args, options, half)).times += 1

    @torch.inference_mode()
    def alone(self) -> None:
        """All the passes that were kept, as often as they came, and nothing else."""
        for one in self._passes.values():
            with precision.autocast(self._device) if one.half else ExitStack():
                for _ in range(one.times):
                    one.run(*one.args, **one.options)

    @property
    def count(self) -> int:
        """How many passes were kept."""
        return sum(one.times for one in self._passes.values())


@dataclass(frozen=True, slots=True)
class _Recalled:
    """In the place of a memory bank: what it gave at one time."""

    held: list[Any]

    def recall(self, ids: object, moment: object) -> list[Any]:
        return self.held


def _watched(models: Models) -> list[tuple[Any, str]]:
    grounder: Any = models.detector.grounder
    memory: Any = models.segmenter.memory
    sam = memory.model
    watched = [(grounder._captions._scorer._model, "forward"), (memory, "_recall")]
    for name in OF_SAM:
        part = getattr(sam, name)
        watched.append((part, "forward") if isinstance(part, torch.nn.Module) else (sam, name))
    return watched


def shapes(value: Any) -> Hashable:
    """Of all tensors in it: passes that have them alike cost the same."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return tuple((name, shapes(v)) for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(shapes, value))
    if is_dataclass(value):
        return tuple(shapes(getattr(value, field.name)) for field in fields(value))
    return None
