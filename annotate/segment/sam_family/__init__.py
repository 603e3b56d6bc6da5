"""What the SAMs that transformers ships have in common: one picture in, masks of its boxes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from annotate.data.types import Image
from annotate.models.layouts import SamSource
from annotate.segment.base import Segmenter

if TYPE_CHECKING:
    from torch import Tensor

    from annotate.segment.sam_family.predictor import Embedding


class TransformersSam(Segmenter):
    """A promptable segmenter in the layout of transformers, without a memory for videos."""

    network: ClassVar[str]  # transformers' class
    types: ClassVar[tuple[str, ...]]  # config.json: model_type

    def __init__(self, *, model: str, revision: str | None, device: str) -> None:
        self._source = SamSource(model=model, revision=revision)
        self._device = device
        self._provenance: Mapping[str, Any] = {}

    @property
    def source(self) -> SamSource:
        """Where the weights come from."""
        return self._source

    def load(self) -> None:
        """See Segmenter."""
        from annotate.models.devices import choose_device
        from annotate.models.sam_checkpoint import load_sam
        from annotate.segment.sam_family.predictor import Predictor

        device = choose_device(self._device)
        network, processor, provenance = load_sam(
            self._source, device, types=self.types, network=self.network
        )
        self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in network.parameters())
        self._predictor = Predictor(network, processor, device=device)

    def embed(self, images: Sequence[Image]) -> list[Embedding]:
        """See Segmenter."""
        return [self._predictor.embed(image) for image in images]

    def decode(self, embedding: Embedding, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """See Segmenter."""
        return self._predictor.decode(embedding, boxes_k4)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance
