"""Grounding DINO, MM Grounding DINO and LLMDet, as transformers loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from annotate.config.settings import AtLeast1
from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder

if TYPE_CHECKING:
    from annotate.ground.grounding_dino.scorer import PhraseScorer


class GroundingDino(CheckpointGrounder):
    """A grounding-dino or mm-grounding-dino checkpoint (arXiv 2303.05499, 2401.02361).

    Class lists longer than one caption are cut into several, each class whole.
    """

    what = "a grounder"
    types = ("grounding-dino", "mm-grounding-dino")
    kinds = ("AutoModelForZeroShotObjectDetection", "AutoProcessor")

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        pooling: Literal["mean", "max"],
        classes_at_once: AtLeast1 | None,
        device: str,
    ) -> None:
        super().__init__(model=model, revision=revision, device=device)
        self._pooling, self._classes_at_once = pooling, classes_at_once
        self._scorer: PhraseScorer | None = None

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases. See Grounder."""
        from annotate.ground.grounding_dino.captions import Captions
        from annotate.ground.grounding_dino.scorer import PhraseScorer

        model, processor, device = self._loaded()
        if self._scorer is None:  # it changes the model, which can be done once
            self._scorer = PhraseScorer(model, processor, device=device, pooling=self._pooling)
        self._scorer.forget()
        self._captions = Captions(self._scorer, classes, classes_at_once=self._classes_at_once)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        return self._captions.find(images, floor)
