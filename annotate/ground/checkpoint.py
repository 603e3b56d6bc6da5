"""What grounders share whose weights transformers loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from annotate.ground.base import Grounder
from annotate.models.layouts import CheckpointSource

if TYPE_CHECKING:
    import torch


class CheckpointGrounder(Grounder):
    """A folder or hub repository, loaded on a device.

    A subclass names what it loads, and calls `_loaded` from `load`.
    """

    what: ClassVar[str]  # for errors, "SAM 3"
    types: ClassVar[tuple[str, ...]]  # `model_type` of its config.json
    kinds: ClassVar[tuple[str, str]]  # names of transformers' classes, of model and processor

    def __init__(self, *, model: str, revision: str | None, device: str) -> None:
        self._source = CheckpointSource(model=model, revision=revision)
        self._device = device
        self._provenance: Mapping[str, Any] = {}
        self._at_hand: tuple[Any, Any, torch.device] | None = None

    @property
    def source(self) -> CheckpointSource:
        """Where the weights come from."""
        return self._source

    def _loaded(self) -> tuple[Any, Any, torch.device]:
        """The model, its processor, and the device that it is on. Raises WeightsError.

        They are loaded once, however often the class list changes.
        """
        if self._at_hand is not None:
            return self._at_hand
        from annotate.models.devices import choose_device
        from annotate.models.transformers_checkpoint import load_checkpoint

        device = choose_device(self._device)
        model, processor, provenance = load_checkpoint(
            self._source, device, self.what, self.types, self.kinds
        )
        self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in model.parameters())
        self._at_hand = model, processor, device
        return self._at_hand

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance
