"""SAM, SAM-HQ, EdgeTAM and SAM 2 in the layout of transformers, loaded from safetensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from annotate.models.layouts import SamSource
from annotate.models.provenance import Provenance
from annotate.models.transformers_checkpoint import load_checkpoint


def load_sam(
    source: SamSource, device: torch.device, *, types: Sequence[str], network: str
) -> tuple[Any, Any, Provenance]:
    """The model (float32, in eval mode, on the device), its image processor, and what was loaded.

    `network` is the name of transformers' class, `types` are the `model_type`s it takes. Raises
    WeightsError.
    """
    what = f"a {network.removesuffix('Model')}"
    return load_checkpoint(source, device, what, types, (network, "AutoImageProcessor"))
