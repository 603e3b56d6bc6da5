"""SAM 3, as transformers ships it: boxes and masks of what a phrase names."""

from __future__ import annotations

from collections.abc import Sequence

from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder


class Sam3(CheckpointGrounder):
    """SAM 3 on single pictures (arXiv 2511.16719), one phrase a pass.

    Its tracker is not used: SAM 2's memory, or whatever `segment=` names, follows what it finds.
    """

    what = "SAM 3"
    types = ("sam3", "sam3_video")
    kinds = ("Sam3Model", "Sam3Processor")

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases. See Grounder."""
        from annotate.ground.sam3.concepts import Concepts

        model, processor, device = self._loaded()
        self._concepts = Concepts(model, processor, classes, device=device)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        return [self._concepts.find(image, floor) for image in images]
