"""SAM, SAM-HQ, EdgeTAM and SAM 2 in the layout of transformers, loaded from safetensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from annotate.errors import WeightsError
from annotate.models.provenance import Provenance
from annotate.models.transformers_checkpoint import load_checkpoint

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class SamSource:
    """Where a SAM comes from: a folder in the layout of transformers, which needs no tokenizer."""

    model: str
    revision: str | None = None

    def patterns(self) -> list[str]:
        return ["config.json", *_PROCESSOR_FILES, "*.safetensors", "*.safetensors.index.json"]

    def weights(self, folder: Path) -> tuple[Path, ...]:
        """The weights files; WeightsError where the folder is not such a model."""
        for either in (("config.json",), _PROCESSOR_FILES):
            if not any((folder / name).is_file() for name in either):
                raise WeightsError(
                    f"{self.model}: has no {' or '.join(either)} (looked in {folder}); "
                    "a segmenter in the layout of transformers is saved with its processor"
                )
        files = tuple(sorted(folder.glob("*.safetensors")))
        if not files:
            raise WeightsError(
                f"{self.model}: has no .safetensors weights (looked in {folder}); a pickle such as "
                "pytorch_model.bin is never loaded, convert it to model.safetensors first"
            )
        return files


def load_sam(
    source: SamSource, device: torch.device, *, types: Sequence[str], network: str
) -> tuple[Any, Any, Provenance]:
    """The model (float32, in eval mode, on the device), its image processor, and what was loaded.

    `network` is the name of transformers' class, `types` are the `model_type`s it takes. Raises
    WeightsError.
    """
    what = f"a {network.removesuffix('Model')}"
    return load_checkpoint(source, device, what, types, (network, "AutoImageProcessor"))
