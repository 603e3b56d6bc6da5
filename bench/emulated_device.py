"""A device that is none: tensors on it are computed by the CPU, and what a GPU would feel counted.

Every copy to it (an upload) and from it (for which the host waits) is counted, with the place that
asked for it, as is every operator call. A tensor of main memory among those of the device is an
error, as it is on a GPU; so what runs here has its tensors where a GPU needs them. It tells nothing
of speed or memory.

    with emulated() as counts:
        model.to(DEVICE)

PyTorch's own way to write a device in Python is experimental, and its name is the process's for
good: to be used in a process of its own.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.autograd.grad_mode import inference_mode
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "emulated"
aten = torch.ops.aten

_setup_privateuseone_for_python_backend(NAME)
DEVICE = torch.device(NAME, 0)

# What must know numbers to know the size of its result.
WAITS = (aten.nonzero.default, aten.masked_select.default, aten._unique2.default)
INDEXING = (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default)


@dataclass(slots=True)
class Counts:
    """Since it was cleared."""

    calls: int = 0  # of operators
    uploads: int = 0
    waits: int = 0
    places: Counter[tuple[str, str]] = field(default_factory=Counter)  # what, and file:line

    def clear(self) -> None:
        self.calls = self.uploads = self.waits = 0
        self.places.clear()

    def upload(self) -> None:
        self.uploads += 1
        self.places["upload", _asked_from()] += 1

    def wait(self) -> None:
        self.waits += 1
        self.places["wait", _asked_from()] += 1


_counts = Counts()


class OnDevice(Tensor):
    """A tensor of the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.held!r})"


def _is_here(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    _counts.calls += 1
    if func is aten._to_copy.default:
        return _copied(args[0], kwargs)
    if func is aten.copy_.default:
        if isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice):
            (_counts.upload if isinstance(args[0], OnDevice) else _counts.wait)()
        func(_held(args[0]), _held(args[1]))
        return args[0]
    if func is aten._local_scalar_dense.default:
        _counts.wait()
        return func(args[0].held)
    if func in WAITS:
        _counts.wait()
    if func in INDEXING:  # tensors of main memory may index
        for index in args[1]:
            if isinstance(index, Tensor):
                if index.dtype in (torch.bool, torch.uint8):
                    _counts.wait()
                if not isinstance(index, OnDevice):
                    _counts.upload()
    else:
        _check(func, (args, kwargs))
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    own = {id(t.held): t for t in tree_leaves((args, kwargs)) if isinstance(t, OnDevice)}
    made = func(*tree_map(_held, args), **tree_map(_held, kwargs))

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return own[id(value)] if id(value) in own else OnDevice(value)

    return tree_map(wrapped, made)


def _copied(tensor: Tensor, options: dict[str, Any]) -> Tensor:
    device = options.get("device")
    comes, goes = isinstance(tensor, OnDevice), _is_here(device)
    if device is None:
        goes = comes
    if comes and not goes:
        _counts.wait()
    elif goes and not comes:
        _counts.upload()
    kept = {n: v for n, v in options.items() if n not in ("device", "pin_memory", "non_blocking")}
    made: Tensor = aten._to_copy.default(_held(tensor), **kept)
    return OnDevice(made) if goes else made


def _check(func: Any, values: Any) -> None:
    for value in tree_leaves(values):
        if isinstance(value, Tensor) and not isinstance(value, OnDevice) and value.dim():
            raise RuntimeError(
                f"{func}: a tensor {tuple(value.shape)} of main memory among those of the device"
            )


_library = torch.library.Library("_", "IMPL")
_library.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")


class _Calls(TorchFunctionMode):
    """What does not come to the device as one operator, or not at all."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_here(options.get("device")):
            del options["device"]
            return func(*args, **options).to(DEVICE)
        if func is torch.arange and _is_here(options.get("device")):
            # It is written into an empty tensor, which the wrapper would take it to stay.
            _counts.calls += 1
            return OnDevice(func(*args, **{**options, "device": "cpu"}))
        if not args or not isinstance(args[0], OnDevice):
            return func(*args, **options)
        if func is Tensor.new_tensor:
            return torch.tensor(args[1], dtype=args[0].dtype).to(DEVICE)
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(
            args[1], (list, np.ndarray)
        ):
            return func(args[0], torch.as_tensor(args[1]).to(DEVICE), *args[2:])
        if func is functional.scaled_dot_product_attention:  # one kernel, as on a GPU
            _counts.calls += 1
            return OnDevice(func(*map(_held, args), **tree_map(_held, options)))
        return func(*args, **options)


@contextmanager
def emulated() -> Iterator[Counts]:
    """While it lasts tensors may be on DEVICE, and what is asked of it is counted."""

    def enter(mode: Any) -> None:
        mode.was = torch.is_grad_enabled()
        torch.set_grad_enabled(False)

    def leave(mode: Any, *_: object) -> None:
        torch.set_grad_enabled(mode.was)

    with ExitStack() as stack:
        # Tensors of a Python device have no version, which inference mode would look for.
        stack.enter_context(patch.object(inference_mode, "__enter__", enter))
        stack.enter_context(patch.object(inference_mode, "__exit__", leave))
        stack.enter_context(_Calls())
        _counts.clear()
        yield _counts


def _asked_from() -> str:
    """The line that asked, of the package or else of a library that it uses."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path != __file__ and "/torch/" not in path:
            parts = path.replace("\\", "/").split("/")
            return f"{'/'.join(parts[-3:])}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


Choose = Callable[[str], torch.device]


def choosing(choose: Choose) -> Choose:
    """`choose_device` that knows this device too."""
    return lambda name: DEVICE if name == NAME else choose(name)
