"""Backbones of the package timm, which configs of checkpoints name."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from annotate.errors import WeightsError

# How a config of transformers names the model of timm, by its own `model_type`.
_KEYS = {"timm_backbone": "backbone", "timm_wrapper": "architecture"}


def settled(model: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json, a backbone of timm said as transformers says it since 5.

    Before, it stood beside its arguments. Of such a name transformers asks the hub whether it is a
    repository, so that weights which are all here could not be loaded without a network. Raises
    WeightsError where timm is not installed, or would fetch what the name says.
    """
    told = dict(config)
    if told.get("use_timm_backbone") and told.get("backbone_kwargs") and told.get("backbone"):
        name, arguments = told.pop("backbone"), told.pop("backbone_kwargs")
        for key in ("use_timm_backbone", "use_pretrained_backbone"):
            told.pop(key, None)
        told["backbone_config"] = {"model_type": "timm_backbone", "backbone": name, **arguments}
    names = [*_named(told)]
    if names and importlib.util.find_spec("timm") is None:
        raise WeightsError(
            f"{model}: its backbone comes with the package timm, which is not installed: "
            "pip install 'annotate[timm]'"
        )
    for name in names:
        if not re.fullmatch(r"[\w.]+", str(name)):
            raise WeightsError(
                f"{model}: config.json names the backbone {json.dumps(name)}; expected one that "
                "timm itself has, such as swin_tiny_patch4_window7_224: nothing else is fetched"
            )
    return told


def _named(node: Any) -> Iterator[Any]:
    """Names of timm's models, wherever a config has them."""
    if isinstance(node, Mapping):
        if node.get("use_timm_backbone"):
            yield node.get("backbone") or "default"
        elif (kind := node.get("model_type")) in _KEYS:
            yield node.get(_KEYS[kind])
        for inner in node.values():
            yield from _named(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _named(inner)
