"""SAM 2 models built from their yaml, without Hydra's compose.

`sam2.build_sam` composes against whatever application has initialised Hydra, which fails inside
any application with configs of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from annotate.errors import WeightsError, one_line

# What `sam2.build_sam.build_sam2(apply_postprocessing=True)` adds: fall back to the best of three
# masks where the single mask is not stable.
_MASK_DECODER = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def import_sam2() -> None:
    """Import the package sam2 and leave Hydra's global state as it was.

    The package initialises Hydra when it is imported; a notebook or an application that does the
    same later would fail with "GlobalHydra is already initialized".
    """
    if "sam2" in sys.modules:
        return
    initialised = GlobalHydra.instance().is_initialized()
    importlib.import_module("sam2")
    if not initialised:
        GlobalHydra.instance().clear()


def build(architecture: Path) -> torch.nn.Module:
    """The SAM2Base that a yaml in sam2's own schema describes, with random weights, on the CPU.

    Raises WeightsError when the yaml is unreadable or names anything but modules of sam2.
    """
    import_sam2()
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(architecture), resolve=False)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise WeightsError(f"{architecture}: cannot be read as yaml: {one_line(error)}") from error
    model = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(model, dict):
        raise WeightsError(f"{architecture}: has no `model:`; expected sam2's own yaml schema")
    _refuse_foreign(model, architecture)
    decoder = {**(model.get("sam_mask_decoder_extra_args") or {}), **_MASK_DECODER}
    model["_target_"] = "sam2.modeling.sam2_base.SAM2Base"
    model["sam_mask_decoder_extra_args"] = decoder
    try:
        built: torch.nn.Module = instantiate(model, _convert_="all")
    # RuntimeError and AssertionError: sizes that contradict each other, seen by torch or sam2.
    except (HydraException, OmegaConfBaseException, RuntimeError, AssertionError) as error:
        raise WeightsError(
            f"{architecture}: does not describe a SAM 2 model: {one_line(error)}"
        ) from error
    return built.eval().requires_grad_(False)


def _refuse_foreign(node: Any, architecture: Path) -> None:
    """A yaml may come with a checkpoint from anywhere, and `_target_` can call any function."""
    if isinstance(node, str) and "${" in node:
        raise WeightsError(f"{architecture}: {node!r}: interpolations are refused")
    if isinstance(node, list):
        for value in node:
            _refuse_foreign(value, architecture)
    if isinstance(node, dict):
        if "_target_" in node and not _is_sam2_module(node["_target_"]):
            raise WeightsError(
                f"{architecture}: _target_ {node['_target_']!r} is refused; "
                "only modules of sam2.modeling are built"
            )
        if node.get("weights_path") is not None:
            raise WeightsError(
                f"{architecture}: weights_path is refused; weights come from the checkpoint"
            )
        for value in node.values():
            _refuse_foreign(value, architecture)


def _is_sam2_module(target: object) -> bool:
    """Whether the name is a torch module that sam2.modeling itself defines.

    A prefix is not enough: `sam2.build_sam.os.system` begins with `sam2.` as well.
    """
    module_name, _, name = str(target).rpartition(".")
    if not module_name.startswith("sam2.modeling."):
        return False
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        return False
    return (
        isinstance(found, type)
        and issubclass(found, torch.nn.Module)
        and found.__module__ == module_name
    )
