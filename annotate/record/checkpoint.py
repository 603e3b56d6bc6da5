"""States on disk without pickle: tensors in a safetensors file, all else as json in its header.

What may be in a state is plain: numbers, texts, lists, tuples, dicts, sets, arrays, tensors, and
dataclasses that the reader names.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from annotate.store import atomic


def save(path: Path, state: Any) -> None:
    """Write a state whole or not at all. Raises StorageError when the disk refuses."""
    tensors: dict[str, torch.Tensor] = {}
    packed = json.dumps(_packed(state, tensors))
    with atomic.writing(path) as written:
        try:
            save_file(tensors, written, metadata={"state": packed})
        except SafetensorError as error:  # which is how it says that the disk refuses
            raise OSError(str(error)) from error


def load(path: Path, classes: Sequence[type], device: torch.device) -> Any | None:
    """A state with its tensors on `device`; None where there is none that can be read.

    `classes` are the dataclasses that it may hold.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            packed = json.loads(file.metadata()["state"])
        known = {kind.__name__: kind for kind in classes}
        return _unpacked(packed, tensors, known, device)
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, AttributeError):
        return None
    except (RecursionError, MemoryError):  # as a crafted one asks for
        return None


def _packed(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The value as json; what is more than a number, text or list becomes [kind, content]."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        return ["tensor", _kept(value.detach().cpu().contiguous().clone(), tensors)]
    if isinstance(value, (np.ndarray, np.generic)):
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return [kind, _kept(torch.from_numpy(np.array(value)), tensors)]
    if isinstance(value, dict):
        pairs = [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]
        return ["counter" if isinstance(value, Counter) else "dict", pairs]
    if isinstance(value, set):
        return ["set", [_packed(v, tensors) for v in sorted(value)]]
    if isinstance(value, (list, tuple, deque)):
        return [type(value).__name__, [_packed(v, tensors) for v in value]]
    if is_dataclass(value):
        content = {f.name: _packed(getattr(value, f.name), tensors) for f in fields(value)}
        return ["dataclass", type(value).__name__, content]
    raise TypeError(f"a state cannot hold a {type(value).__name__}")


def _kept(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    name = str(len(tensors))
    tensors[name] = tensor
    return name


def _unpacked(
    packed: Any,
    tensors: dict[str, torch.Tensor],
    classes: dict[str, type],
    device: torch.device,
) -> Any:
    def inner(value: Any) -> Any:
        return _unpacked(value, tensors, classes, device)

    if not isinstance(packed, list):
        return packed
    kind, *rest = packed
    content = rest[-1]
    match kind:
        case "tensor":
            return tensors[content].to(device)
        case "array":
            return tensors[content].numpy()
        case "scalar":
            return tensors[content].numpy()[()]
        case "dict":
            return {inner(k): inner(v) for k, v in content}
        case "counter":
            return Counter({inner(k): inner(v) for k, v in content})
        case "list":
            return [inner(v) for v in content]
        case "tuple":
            return tuple(inner(v) for v in content)
        case "set":
            return {inner(v) for v in content}
        case "deque":
            return deque(inner(v) for v in content)
        case "dataclass":
            return classes[rest[0]](**{name: inner(v) for name, v in content.items()})
    raise ValueError(f"a state cannot hold {kind!r}")
