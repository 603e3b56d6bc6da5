"""OWLv2 (arXiv 2306.09683), as transformers ships it: every patch of a picture against phrases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from annotate.data.types import ClassList, Image, spoken
from annotate.errors import ConfigError, PromptError
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder

if TYPE_CHECKING:
    from torch import Tensor

TEXTS_AT_ONCE = 256  # through the text encoder


class Owlv2(CheckpointGrounder):
    """An owlv2 checkpoint. Phrases do not see each other, so a list of any length costs little.

    The picture is padded to a square, below and on its right; boxes are shares of that.
    """

    what = "OWLv2"
    types = ("owlv2",)
    kinds = ("Owlv2ForObjectDetection", "Owlv2Processor")

    def __init__(self, *, model: str, revision: str | None, template: str, device: str) -> None:
        super().__init__(model=model, revision=revision, device=device)
        if template.count("{}") != 1:
            raise ConfigError(f"ground.template={template!r}: needs one {{}} for the phrase")
        self._template = template

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases, which no picture changes. See Grounder."""
        import torch

        from annotate.ground.phrases import Phrases

        self._model, self._processor, self._on = self._loaded()
        self._phrases = Phrases.of(classes, range(len(classes)), self._on)
        texts = self._phrases.texts
        with torch.inference_mode():
            self._queries = torch.cat(
                [
                    self._encoded(texts[at : at + TEXTS_AT_ONCE])
                    for at in range(0, len(texts), TEXTS_AT_ONCE)
                ]
            )  # (p, d)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        import torch

        from annotate.models import precision

        # Copies: decoded pictures may be read-only, which torch cannot express.
        pictures = [torch.from_numpy(np.array(i)).to(self._on).permute(2, 0, 1) for i in images]
        prepared = self._processor.image_processor(
            images=pictures, return_tensors="pt", input_data_format="channels_first"
        )["pixel_values"]
        with torch.inference_mode():
            with precision.autocast(self._on):
                features = self._model.image_embedder(pixel_values=prepared)[0].float()
            patches = features.flatten(1, 2)  # (b, q, d)
            queries = self._queries.expand(len(images), -1, -1)
            logits, _ = self._model.class_predictor(patches, queries)
            boxes = self._model.box_predictor(patches, features)
        return [
            self._candidates(image, boxes_q4, scores_qp, floor)
            for image, boxes_q4, scores_qp in zip(images, boxes, logits.sigmoid(), strict=True)
        ]

    def _candidates(
        self, image: Image, boxes_q4: Tensor, scores_qp: Tensor, floor: float
    ) -> Candidates:
        """Of boxes as centre and size, shares of the square, and scores of phrases."""
        from torchvision.ops import box_convert

        query, scores, class_ids, texts = self._phrases.best(scores_qp, floor)
        corners = box_convert(boxes_q4[query], "cxcywh", "xyxy")
        return Candidates(corners * max(image.shape[:2]), scores, class_ids, texts)

    def _encoded(self, phrases: Sequence[str]) -> Tensor:
        """Phrases as queries (p, d). Raises PromptError for one that is too long to be read."""
        tokenizer = self._processor.tokenizer
        length = self._model.config.text_config.max_position_embeddings
        said = [self._template.format(spoken(phrase).lower()) for phrase in phrases]
        for phrase, tokens in zip(phrases, tokenizer(said)["input_ids"], strict=True):
            if len(tokens) > length:
                raise PromptError(
                    f"phrase {phrase!r}: {len(tokens)} tokens with ground.template, more than "
                    f"OWLv2's {length}; shorten it"
                )
        read = tokenizer(said, return_tensors="pt", padding="max_length", max_length=length)
        ids, mask = (read[key].to(self._on) for key in ("input_ids", "attention_mask"))
        encoded: Tensor = self._model.owlv2.get_text_features(ids, mask).pooler_output
        return encoded.float()
