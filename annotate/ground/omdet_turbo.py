"""OmDet-Turbo (arXiv 2403.06892), as transformers ships it: fast, phrases fused with a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotate.config.settings import AtLeast1
from annotate.data.types import ClassList, Image, spoken
from annotate.errors import PromptError
from annotate.ground.base import Candidates
from annotate.ground.checkpoint import CheckpointGrounder
from annotate.ground.prompt_budget import evenly_filled

if TYPE_CHECKING:
    from torch import Tensor

    from annotate.ground.phrases import Phrases

TEXT_LENGTH = 77  # tokens of a phrase or a task


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Classes that are asked together, as the model reads them."""

    phrases: Phrases
    classes: Tensor  # (p, 1, d)
    task: Tensor  # (n, 1, d)
    task_mask: Tensor  # (1, n)


class OmdetTurbo(CheckpointGrounder):
    """An omdet-turbo checkpoint. The picture is encoded once, whatever the length of the list."""

    what = "OmDet-Turbo"
    types = ("omdet-turbo",)
    kinds = ("OmDetTurboForObjectDetection", "OmDetTurboProcessor")

    def __init__(
        self, *, model: str, revision: str | None, classes_at_once: AtLeast1, device: str
    ) -> None:
        super().__init__(model=model, revision=revision, device=device)
        self._at_once = classes_at_once

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode phrases and tasks, which no picture changes."""
        import torch

        from annotate.ground.phrases import Phrases

        self._model, self._processor, self._on = self._loaded()
        parts = evenly_filled([1] * len(classes), len(classes), most=self._at_once)
        with torch.inference_mode():
            self._chunks = [self._encoded(Phrases.of(classes, part)) for part in parts]

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        import torch

        from annotate.models import precision
        from annotate.models.pictures import on_device

        pictures = [on_device(image, self._on) for image in images]
        prepared = self._processor.image_processor(
            images=pictures, return_tensors="pt", input_data_format="channels_first"
        )["pixel_values"]
        with torch.inference_mode():
            with precision.autocast(self._on):
                seen = self._model.encoder(self._model.vision_backbone(prepared))
            levels = [level.float() for level in seen.extracted_states]
            asked = [self._ask(levels, chunk, floor) for chunk in self._chunks]
        return [_joined([of_chunk[n] for of_chunk in asked], i) for n, i in enumerate(images)]

    def _ask(self, levels: list[Tensor], chunk: _Chunk, floor: float) -> list[Candidates]:
        """What each picture has of some classes; boxes are shares of it."""
        from torchvision.ops import box_convert

        from annotate.models.transfer import to_host

        b = len(levels[0])
        # Not under autocast: the decoder and its heads decide.
        out = self._model.decoder(
            levels,
            chunk.classes.expand(-1, b, -1),
            chunk.task.expand(-1, b, -1).clone(),
            chunk.task_mask.expand(b, -1),
        )
        found = []
        boxes_bq4, scores_bqp = to_host(out.decoder_coords[-1], out.decoder_classes[-1].sigmoid())
        for boxes, of_phrases in zip(boxes_bq4, scores_bqp, strict=True):
            query, scores, class_ids, texts = chunk.phrases.best(of_phrases, floor)
            corners = box_convert(boxes[query], "cxcywh", "xyxy")
            found.append(Candidates(corners, scores, class_ids, texts))
        return found

    def _encoded(self, phrases: Phrases) -> _Chunk:
        """Raises PromptError for a phrase that is too long to be read."""
        tokenizer = self._processor.tokenizer
        said = [spoken(text).lower() for text in phrases.texts]
        for phrase, tokens in zip(phrases.texts, tokenizer(said)["input_ids"], strict=True):
            if len(tokens) > TEXT_LENGTH:
                raise PromptError(
                    f"phrase {phrase!r}: {len(tokens)} tokens, more than OmDet-Turbo's "
                    f"{TEXT_LENGTH}; shorten it"
                )
        task = f"Detect {', '.join(said)}."
        # A task longer than that is cut, as the model's own processor does; classes never are.
        options = {
            "padding": "max_length", "truncation": True, "max_length": TEXT_LENGTH,
            "return_tensors": "pt",
        }  # fmt: skip
        names, whole = (tokenizer(texts, **options).to(self._on) for texts in (said, [task]))
        encode = self._model.language_backbone
        classes = encode(names["input_ids"], encode_type="class")
        told, mask = encode(whole["input_ids"], mask=whole["attention_mask"], encode_type="task")
        return _Chunk(phrases, classes.float()[:, None], told.float(), mask)


def _joined(found: Sequence[Candidates], image: Image) -> Candidates:
    """What chunks found in one picture, in its pixels."""
    import torch

    h, w = image.shape[:2]
    shares = torch.cat([some.boxes_xyxy for some in found])
    return Candidates(
        shares * torch.tensor([w, h, w, h]),
        torch.cat([some.scores for some in found]),
        torch.cat([some.class_ids for some in found]),
        [phrase for some in found for phrase in some.phrases],
    )
