"""OWLv2 (arXiv 2306.09683), as transformers ships it: every patch of a picture against phrases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from annotate.data.examples import Example, asked_texts
from annotate.data.types import ClassList, Image, spoken
from annotate.errors import ConfigError, MediaError, PromptError
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder

if TYPE_CHECKING:
    from torch import Tensor

TEXTS_AT_ONCE = 256  # through the text encoder
SAME_BOX = 0.8  # of the best overlap with an example's box, from which a patch's is the same


class Owlv2(CheckpointGrounder):
    """An owlv2 checkpoint. Phrases do not see each other, so a list of any length costs little.

    The picture is padded to a square, below and on its right; boxes are shares of that.
    """

    takes_examples = True
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
        examples = {
            example.label: example
            for spec in classes.classes
            for example in map(Example.parse, spec.like)
        }
        self._phrases = Phrases.of(_with_examples(classes), range(len(classes)))
        words = [text for text in self._phrases.texts if text not in examples]
        with torch.inference_mode():
            by_text = {label: self._exemplified(e) for label, e in examples.items()}
            for at in range(0, len(words), TEXTS_AT_ONCE):
                some = words[at : at + TEXTS_AT_ONCE]
                by_text |= zip(some, self._encoded(some), strict=True)
        self._queries = torch.stack([by_text[text] for text in self._phrases.texts])  # (p, d)
        self._examples = _digest(examples)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        import torch

        from annotate.models.transfer import to_host

        with torch.inference_mode():
            patches, boxes = self._look(images)
            queries = self._queries.expand(len(images), -1, -1)
            logits, _ = self._model.class_predictor(patches, queries)
            boxes, scores = to_host(boxes, logits.sigmoid())
        return [
            self._candidates(image, boxes_q4, scores_qp, floor)
            for image, boxes_q4, scores_qp in zip(images, boxes, scores, strict=True)
        ]

    def _look(self, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """Patches (b, q, d) and a box of each (b, q, 4), centre and size, shares of the square."""

        from annotate.models import precision
        from annotate.models.pictures import on_device

        pictures = [on_device(image, self._on) for image in images]
        prepared = self._processor.image_processor(
            images=pictures, return_tensors="pt", input_data_format="channels_first"
        )["pixel_values"]
        with precision.autocast(self._on):
            features = self._model.image_embedder(pixel_values=prepared)[0].float()
        patches = features.flatten(1, 2)
        return patches, self._model.box_predictor(patches, features)

    def _candidates(
        self, image: Image, boxes_q4: Tensor, scores_qp: Tensor, floor: float
    ) -> Candidates:
        """Of boxes as centre and size, shares of the square, and scores of phrases."""
        from torchvision.ops import box_convert

        query, scores, class_ids, texts = self._phrases.best(scores_qp, floor)
        corners = box_convert(boxes_q4[query], "cxcywh", "xyxy")
        return Candidates(corners * max(image.shape[:2]), scores, class_ids, texts)

    def _exemplified(self, example: Example) -> Tensor:
        """An example as a query (d,): of the patches whose boxes are its own, the most telling one.

        That is the one least like the picture as a whole, as OWL-ViT has it (arXiv 2205.06230).
        Raises PromptError for a picture that cannot be read, or a box that it does not have.
        """
        import torch
        from torchvision.ops import box_convert, box_iou

        from annotate.decode.image import read_image

        try:
            image = read_image(example.picture)
        except MediaError as error:
            raise PromptError(f"like={example}: {error}") from error
        h, w = image.shape[:2]
        x0, y0, x1, y1 = example.box_xyxy
        if x0 >= w or y0 >= h:
            raise PromptError(f"like={example}: the box lies outside of a picture of {w}x{h}")
        patches, boxes = self._look([image])
        corners = box_convert(boxes[0], "cxcywh", "xyxy") * max(h, w)
        asked = corners.new_tensor([[x0, y0, min(x1, w), min(y1, h)]])
        iou = box_iou(asked, corners)[0]
        embedded = self._model.class_predictor(patches)[1][0]
        embedded = embedded / embedded.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        likeness = embedded @ embedded.mean(0)
        own = iou >= SAME_BOX * iou.max()
        query: Tensor = embedded[torch.where(own, likeness, torch.inf).argmin()]
        return query

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

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights, and what the examples came to."""
        return {**super().provenance, **self._examples}


def _with_examples(classes: ClassList) -> ClassList:
    """Examples as phrases among the others."""
    return ClassList(tuple(replace(spec, phrases=asked_texts(spec)) for spec in classes.classes))


def _digest(examples: Mapping[str, Example]) -> dict[str, str]:
    """What tells other pictures of the same names apart; nothing where there are no examples."""
    if not examples:
        return {}
    whole = hashlib.sha256()
    for example in examples.values():
        whole.update(example.picture.read_bytes() + str(example.box_xywh).encode())
    return {"examples": whole.hexdigest()}
