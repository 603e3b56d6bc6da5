"""SAM 2 and 2.1, from the checkpoints of the package sam2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from annotate.data.types import Image
from annotate.models.layouts import SegmenterSource
from annotate.segment.base import Segmenter

if TYPE_CHECKING:
    from torch import Tensor

    from annotate.segment.sam2.image import Embedding


class Sam2(Segmenter):
    """Any SAM 2 (arXiv 2408.00714), with its memory for videos."""

    has_memory = True

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        checkpoint: str,
        architecture: str,
        device: str,
    ) -> None:
        self._source = SegmenterSource(
            model=model, checkpoint=checkpoint, architecture=architecture, revision=revision
        )
        self._device = device
        self._provenance: Mapping[str, Any] = {}

    @property
    def source(self) -> SegmenterSource:
        """Where the weights come from."""
        return self._source

    def load(self) -> None:
        """See Segmenter."""
        from annotate.models.devices import choose_device
        from annotate.models.sam2_checkpoint import load_sam2
        from annotate.segment.sam2.image import Sam2Image
        from annotate.segment.sam2.memory import Sam2Memory

        device = choose_device(self._device)
        network, provenance = load_sam2(self._source, device)
        self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in network.parameters())
        self._image = Sam2Image(network, device=device)
        self.memory = Sam2Memory(self._image)

    def embed(self, images: Sequence[Image]) -> list[Embedding]:
        """See Segmenter."""
        return self._image.embed_all(images)

    def decode(self, embedding: Embedding, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """See Segmenter; logits are (k, s, s)."""
        return self._image.decode(embedding, boxes_k4)

    def decode_all(
        self, embeddings: Sequence[Embedding], boxes: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """See Segmenter."""
        return self._image.decode_all(embeddings, boxes)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance
