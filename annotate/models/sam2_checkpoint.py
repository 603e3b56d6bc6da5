"""SAM 2 checkpoints, loaded without running a pickle."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from annotate.errors import WeightsError
from annotate.models import sam2_architecture
from annotate.models.checks import damaged, raise_unfit
from annotate.models.hub import fetch, identified
from annotate.models.layouts import SegmenterSource
from annotate.models.provenance import Provenance


def load_sam2(source: SegmenterSource, device: torch.device) -> tuple[torch.nn.Module, Provenance]:
    """The SAM2Base (float32, in eval mode, on the device) and what was loaded."""
    fetched = fetch(source)
    (path,) = fetched.weights
    architecture = source.yaml(fetched.folder)
    tensors = _read_checkpoint(source.model, path)
    provenance = identified(source, fetched)
    model = sam2_architecture.build(architecture)
    _check_fits(source.model, path, architecture, tensors, model.state_dict())
    model.load_state_dict(tensors, strict=True)
    return model.to(device), provenance


def _read_checkpoint(model: str, path: Path) -> dict[str, torch.Tensor]:
    # Before any unpickling: a file cut short has lost the directory at its end, and a bare pickle
    # never had one.
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            damaged(model, path) + "; if it is whole it is a bare pickle, and those are not loaded"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # pickle, zip, tensor and key errors, by what the bytes happen to be
        if isinstance(error, pickle.UnpicklingError) and "Unsupported operand" not in str(error):
            raise WeightsError(
                f"{model}: {path} is refused, it holds a pickle that wants to run code; "
                "only plain tensors are loaded"
            ) from error
        raise WeightsError(damaged(model, path)) from error
    tensors = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict):
        raise WeightsError(f'{model}: {path} is not a SAM 2 checkpoint: it has no "model" entry')
    return tensors


def _check_fits(
    model: str,
    path: Path,
    architecture: Path,
    given: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
) -> None:
    shared = sorted(given.keys() & wanted.keys())
    raise_unfit(
        f"{model}: {path.name} does not fit {architecture.name}",
        {
            "missing": sorted(wanted.keys() - given.keys()),
            "unknown": sorted(given.keys() - wanted.keys()),
            "of another shape": [k for k in shared if given[k].shape != wanted[k].shape],
        },
        "set segment.architecture to the yaml of this checkpoint",
    )
