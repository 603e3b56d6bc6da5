"""SAM 3, as transformers ships it: boxes and masks of what a phrase names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates, Grounder
from annotate.models.layouts import GrounderSource


class Sam3(Grounder):
    """SAM 3 on single pictures (arXiv 2511.16719), one phrase a pass.

    Its tracker is not used: SAM 2's memory, or whatever `segment=` names, follows what it finds.
    """

    def __init__(self, *, model: str, revision: str | None, device: str) -> None:
        self._source = GrounderSource(model=model, revision=revision)
        self._device = device
        self._provenance: Mapping[str, Any] = {}

    @property
    def source(self) -> GrounderSource:
        """Where the weights come from."""
        return self._source

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases. See Grounder."""
        from annotate.ground.sam3.concepts import Concepts
        from annotate.models.devices import choose_device
        from annotate.models.transformers_checkpoint import load_checkpoint

        device = choose_device(self._device)
        types, kinds = ("sam3", "sam3_video"), ("Sam3Model", "Sam3Processor")
        model, processor, provenance = load_checkpoint(self._source, device, "SAM 3", types, kinds)
        self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in model.parameters())
        self._concepts = Concepts(model, processor, classes, device=device)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        return [self._concepts.find(image, floor) for image in images]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance
