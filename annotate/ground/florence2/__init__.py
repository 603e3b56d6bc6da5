"""Florence-2 (arXiv 2311.06242), as transformers ships it: it writes down where a phrase is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from annotate.config.settings import AtLeast1
from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder


class Florence2(CheckpointGrounder):
    """One prompt a phrase, so that every box is the phrase's that was asked for.

    It has no scores: boxes have 1, in the order in which they were written.
    """

    has_scores = False
    decides_nothing = ("device", "phrases_at_once")
    what = "Florence-2"
    types = ("florence2",)
    kinds = ("Florence2ForConditionalGeneration", "Florence2Processor")

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        mode: Literal["open_vocabulary", "phrase_grounding"],
        beams: AtLeast1,
        max_new_tokens: AtLeast1,
        phrases_at_once: AtLeast1,
        device: str,
    ) -> None:
        super().__init__(model=model, revision=revision, device=device)
        self._mode, self._beams, self._tokens = mode, beams, max_new_tokens
        self._at_once = phrases_at_once
        self._counts: Counter[str] = Counter()

    def load(self, classes: ClassList) -> None:
        """Load the weights, and read the phrases. See Grounder."""
        from annotate.ground.florence2.writer import Writer

        model, processor, device = self._loaded()
        self._writer = Writer(
            model,
            processor,
            classes,
            mode=self._mode,
            beams=self._beams,
            max_new_tokens=self._tokens,
            at_once=self._at_once,
            device=device,
        )

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder. `floor` tells nothing apart."""
        return [self._writer.find(image) for image in images]

    @property
    def tally(self) -> Mapping[str, int]:
        """What of its replies could not be read."""
        return dict(self._writer.left_out)
