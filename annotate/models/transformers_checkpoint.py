"""Checkpoints in the layout of transformers, loaded from safetensors alone."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from annotate.errors import WeightsError, one_line
from annotate.models.backbones import settled
from annotate.models.checks import damaged, raise_unfit
from annotate.models.hub import Source, fetch, identified
from annotate.models.provenance import Provenance


def load_checkpoint(
    source: Source, device: torch.device, what: str, types: Sequence[str], kinds: tuple[str, str]
) -> tuple[Any, Any, Provenance]:
    """The model (float32, in eval mode, on the device), its processor, and what was loaded.

    `what` the model is to be has one of the model types `types`; `kinds` are the names of
    transformers' classes of the model and of the processor. Raises WeightsError.
    """
    fetched = fetch(source)
    config = _read_config(source.model, fetched.folder / "config.json")
    if config.get("model_type") not in types:
        raise WeightsError(
            f"{source.model}: config.json says model_type {config.get('model_type')!r}; "
            f"{what} is one of {', '.join(types)}"
        )
    told = settled(source.model, config)
    for path in fetched.weights:
        _check_safetensors(source.model, path)
    provenance = identified(source, fetched)
    # Else each layer of deformable attention asks the device whether its shapes fit, and waits.
    os.environ.setdefault("TRANSFORMERS_DISABLE_TORCH_CHECK", "1")
    with _quiet_transformers():
        import transformers  # seconds of import that listing and fetching can do without

        model_class, processor_class = (getattr(transformers, name) for name in kinds)
        safe = {"local_files_only": True, "trust_remote_code": False}
        try:
            # Given only where it differs from the file: reading that is transformers' business.
            other = {} if told == config else {"config": transformers.AutoConfig.for_model(**told)}
            processor = processor_class.from_pretrained(fetched.folder, **other, **safe)
            model, report = model_class.from_pretrained(
                fetched.folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused below with their names
                **other,
                **safe,
            )
        # The files are foreign, and transformers meets bad ones with errors of a dozen kinds.
        except Exception as error:
            raise WeightsError(
                f"{source.model}: transformers cannot load {fetched.folder}: {one_line(error)}"
            ) from error
    _check_loaded(source.model, fetched.weights, model, report)
    return model.eval().requires_grad_(False).to(device), processor, provenance


def _read_config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{model}: {path} cannot be read: {one_line(error)}") from error
    return config if isinstance(config, dict) else {}


def _check_safetensors(model: str, path: Path) -> None:
    """Read the header, which knows how long the file must be."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(damaged(model, path, error)) from error


def _check_loaded(
    model_name: str, files: Sequence[Path], model: torch.nn.Module, report: Mapping[str, Any]
) -> None:
    """transformers only warns of tensors that do not fit, and puts random numbers there instead."""
    resized = sorted(name for name, *_ in report["mismatched_keys"])
    raise_unfit(
        f"{model_name}: {files[0].name} does not fit config.json",
        {
            "missing": sorted(set(report["missing_keys"]) - set(resized)),
            "of another shape": resized,
        },
        "take both from the same place",
    )
    # A release that ties heads which the file keeps apart would give wrong boxes without a word.
    state = model.state_dict()
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                if name in state and not torch.equal(tensors.get_tensor(name).float(), state[name]):
                    raise WeightsError(
                        f"{model_name}: this release of transformers changes {name} of {path.name} "
                        "on loading; install the release that requirements.lock names"
                    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No talk and no bars of transformers; what matters comes back as a WeightsError."""
    from transformers.utils import logging as transformers_logging

    library: Any = transformers_logging  # untyped
    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
