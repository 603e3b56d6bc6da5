"""Grounding DINO, MM Grounding DINO and LLMDet, as transformers loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates, Grounder
from annotate.models.layouts import GrounderSource


class GroundingDino(Grounder):
    """A grounding-dino or mm-grounding-dino checkpoint (arXiv 2303.05499, 2401.02361).

    Class lists longer than one caption are cut into several, each class whole.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        pooling: Literal["mean", "max"],
        device: str,
    ) -> None:
        self._source = GrounderSource(model=model, revision=revision)
        self._pooling = pooling
        self._device = device
        self._provenance: Mapping[str, Any] = {}

    @property
    def source(self) -> GrounderSource:
        """Where the weights come from."""
        return self._source

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases. See Grounder."""
        from annotate.ground.grounding_dino.captions import Captions
        from annotate.ground.grounding_dino.scorer import PhraseScorer
        from annotate.models.devices import choose_device
        from annotate.models.transformers_checkpoint import load_grounding_dino

        device = choose_device(self._device)
        model, processor, provenance = load_grounding_dino(self._source, device)
        self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in model.parameters())
        scorer = PhraseScorer(model, processor, device=device, pooling=self._pooling)
        self._captions = Captions(scorer, classes)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        return self._captions.find(images, floor)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance
