"""Which files a model consists of, in the layouts of transformers and of sam2."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from annotate.errors import WeightsError

_CONFIG_FILES = (
    "added_tokens.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class CheckpointSource:
    """Where a model comes from: a folder in the layout of transformers."""

    needed: ClassVar[tuple[tuple[str, ...], ...]] = (  # one of each
        ("config.json",),
        _PROCESSOR_FILES,
        ("tokenizer.json", "vocab.txt", "vocab.json"),
    )

    model: str
    revision: str | None = None

    def patterns(self) -> list[str]:
        return [*_CONFIG_FILES, *_WEIGHTS]

    def weights(self, folder: Path) -> tuple[Path, ...]:
        """The weights files; WeightsError where the folder is not such a model."""
        for either in self.needed:
            if not any((folder / name).is_file() for name in either):
                raise WeightsError(
                    f"{self.model}: has no {' or '.join(either)} (looked in {folder}); "
                    "a model is saved with its processor"
                )
        files = tuple(sorted(folder.glob("*.safetensors")))
        if not files:
            raise WeightsError(
                f"{self.model}: has no .safetensors weights (looked in {folder}); a pickle such as "
                "pytorch_model.bin is never loaded, convert it to model.safetensors first"
            )
        return files


@dataclass(frozen=True, slots=True)
class SamSource(CheckpointSource):
    """Where a SAM comes from: the same, but it reads no text."""

    needed = (("config.json",), _PROCESSOR_FILES)

    def patterns(self) -> list[str]:
        return ["config.json", *_PROCESSOR_FILES, *_WEIGHTS]


@dataclass(frozen=True, slots=True)
class SegmenterSource:
    """Where a SAM 2 comes from: a checkpoint in the layout of sam2, and its yaml."""

    model: str
    checkpoint: str
    architecture: str
    revision: str | None = None

    def patterns(self) -> list[str]:
        packaged = packaged_architecture(self.architecture)
        return [self.checkpoint] if packaged else [self.checkpoint, self.architecture]

    def weights(self, folder: Path) -> tuple[Path, ...]:
        """The checkpoint; WeightsError where the folder lacks it."""
        if not (folder / self.checkpoint).is_file():
            raise WeightsError(
                f"{self.model}: has no {self.checkpoint} (looked in {folder}); "
                "set segment.checkpoint to the file to load"
            )
        return (folder / self.checkpoint,)

    def yaml(self, folder: Path) -> Path:
        path = packaged_architecture(self.architecture) or folder / self.architecture
        if not path.is_file():
            raise WeightsError(
                f"{self.model}: no {self.architecture}, neither inside the package sam2 nor in "
                f"{folder}; set segment.architecture"
            )
        return path


def packaged_architecture(name: str) -> Path | None:
    """The yaml of that name inside the package sam2, if there is one."""
    spec = importlib.util.find_spec("sam2")
    places = spec.submodule_search_locations if spec else None
    path = Path(next(iter(places or ()))) / name
    return path if path.is_file() else None
