"""Grounding DINO (arXiv 2303.05499) as transformers ships it: captions in, phrase scores out.

Class names are never decoded from tokens. A caption is built phrase by phrase, so that the span of
every phrase is known, and the token scores of a query are pooled over each span.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from annotate.data.types import Image, spoken
from annotate.errors import PromptError
from annotate.ground.phrases import padded
from annotate.models import precision
from annotate.models.pictures import on_device

log = logging.getLogger(__name__)

# How transformers names what scores queries against tokens and what gives boxes.
HEADS = ("ContrastiveEmbedding", "MLPPredictionHead")
LEAST_SIDE = 32  # px that the backbone needs: it halves a picture five times
THREAD_LENGTH = 4096  # px, of a picture too thin for that when it is stretched across


@dataclass(frozen=True, slots=True)
class Caption:
    """Token ids `[CLS] phrase . phrase . [SEP]` and where each phrase stands in them."""

    token_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]  # half-open token ranges, one per phrase


@dataclass(frozen=True, slots=True)
class _OnDevice:
    """What a pass needs of a caption."""

    ids: Tensor  # (n,)
    spans: Tensor  # (p, longest) positions of each phrase's tokens, `padded`
    lengths: Tensor  # (p,) tokens of each


class PhraseScorer:
    """A grounding-dino or mm-grounding-dino checkpoint that scores phrases on images.

    The text encoder runs once per caption: its output does not depend on the image.
    """

    def __init__(self, model: Any, processor: Any, *, device: torch.device, pooling: str) -> None:
        self.device = device
        self._model = model.to(device).eval()
        self._tokenizer = processor.tokenizer
        self._image_processor = processor.image_processor
        self._pooling = pooling
        self._separators = set(model.model.special_tokens.tolist())
        self._dot = self._tokenizer.convert_tokens_to_ids(".")
        self._warned: set[str] = set()
        self._sent: dict[Caption, _OnDevice] = {}
        for module in self._model.modules():
            if type(module).__name__.endswith(HEADS):
                precision.run_in_float32(module, device)
        self._memo = _TextMemo(model.model.text_backbone)
        model.model.text_backbone = self._memo

    def forget(self) -> None:
        """Let go of the captions of before, for another class list."""
        self._sent.clear()
        self._memo.forget()

    @property
    def token_budget(self) -> int:
        """Tokens a caption may have between [CLS] and [SEP]."""
        config = self._model.config
        return int(min(config.max_text_len, config.text_config.max_position_embeddings)) - 2

    def tokenize(self, phrase: str) -> tuple[int, ...]:
        """The tokens of one phrase, without those the model takes for separators (`.` and `?`).

        Raises PromptError when the tokenizer knows nothing of it, or when the phrase alone exceeds
        the budget.
        """
        ids = self._tokenizer(spoken(phrase).lower(), add_special_tokens=False)["input_ids"]
        kept = tuple(i for i in ids if i not in self._separators)
        if not kept:
            raise PromptError(f"phrase {phrase!r}: no letter or digit the model can read")
        # What a tokenizer does not know becomes one and the same token, whatever was meant.
        unknown = kept.count(self._tokenizer.unk_token_id)
        if unknown == len(kept):
            raise PromptError(
                f"phrase {phrase!r}: the model's tokenizer knows no part of it; describe the class "
                "in words that it knows (`name: phrase`), in English for most models"
            )
        if unknown and phrase not in self._warned:
            self._warned.add(phrase)
            log.warning("phrase %r: the model's tokenizer knows only a part of it", phrase)
        if len(kept) + 1 > self.token_budget:
            raise PromptError(
                f"phrase {phrase!r}: {len(kept)} tokens, more than the model's {self.token_budget}"
            )
        return kept

    def caption(self, phrases: Sequence[str]) -> Caption:
        """Join phrases into one caption."""
        ids, spans = [self._tokenizer.cls_token_id], []
        for phrase in phrases:
            tokens = self.tokenize(phrase)
            spans.append((len(ids), len(ids) + len(tokens)))
            ids += [*tokens, self._dot]
        return Caption((*ids, self._tokenizer.sep_token_id), tuple(spans))

    def prepare(self, image: Image) -> Tensor:
        """Resize and normalise one RGB image for the model: float (3, h, w) on the device."""
        pixels = self._thickened(on_device(image, self.device))
        prepared = self._image_processor(
            images=[pixels], do_pad=False, return_tensors="pt", input_data_format="channels_first"
        )
        pixels_3hw: Tensor = prepared["pixel_values"][0]
        return pixels_3hw

    def _thickened(self, pixels_3hw: Tensor) -> Tensor:
        """A picture like a thread, stretched across: resized as it is, no width would be left.

        Boxes are shares of the frame, so they do not mind.
        """
        h, w = pixels_3hw.shape[1:]
        aspect = self._image_processor.size["longest_edge"] // LEAST_SIDE
        if max(h, w) <= aspect * min(h, w):
            return pixels_3hw
        longer = min(max(h, w), THREAD_LENGTH)
        shorter = math.ceil(longer / aspect)
        size = (longer, shorter) if h > w else (shorter, longer)
        return functional.interpolate(pixels_3hw[None], size, mode="nearest")[0]

    @torch.inference_mode()
    def score(self, pixels_b3hw: Tensor, caption: Caption) -> tuple[Tensor, Tensor]:
        """Ground one caption in images of one shape.

        Returns boxes (b, q, 4) as xyxy shares of the frame, and phrase scores (b, q, p) in 0..1.
        """
        b = len(pixels_b3hw)
        ids = self._on_device(caption).ids.expand(b, -1)
        self._memo.caption = caption
        with precision.autocast(self.device):
            out = self._model(pixel_values=pixels_b3hw, input_ids=ids)
        token_scores = out.logits.float()[..., : ids.shape[1]].sigmoid()
        centre, size = out.pred_boxes.float().split(2, -1)
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
        return boxes, self._pool(token_scores, caption)

    def _pool(self, token_scores_bqn: Tensor, caption: Caption) -> Tensor:
        """Scores of tokens to those of phrases (b, q, p), of each the mean or the best.

        Tokens are taken phrase by phrase and added in their order, not scattered: adding floats in
        whatever order a GPU's threads come would give other last digits each time.
        """
        known = self._on_device(caption)
        of_phrase = functional.pad(token_scores_bqn, (0, 1))[..., known.spans]  # (b, q, p, longest)
        if self._pooling == "max":
            return of_phrase.amax(-1)
        return reduce(torch.add, of_phrase.unbind(-1)) / known.lengths

    def _on_device(self, caption: Caption) -> _OnDevice:
        """Sent there once."""
        if caption not in self._sent:
            spans = [range(start, end) for start, end in caption.spans]
            nothing = len(caption.token_ids)  # the position of a column of zeros
            self._sent[caption] = _OnDevice(
                torch.tensor(caption.token_ids, device=self.device),
                padded(spans, nothing).to(self.device),
                torch.tensor([len(span) for span in spans], device=self.device),
            )
        return self._sent[caption]


class _TextMemo(nn.Module):
    """Stands in for the text encoder and remembers its output for each caption."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.caption: Caption | None = None
        self.passes = 0
        self._known: dict[Caption, Tensor] = {}

    def forget(self) -> None:
        """Captions of before."""
        self._known.clear()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        position_ids: Tensor,
        **kwargs: Any,
    ) -> BaseModelOutput:
        assert self.caption is not None
        features = self._known.get(self.caption)
        if features is None:
            self.passes += 1
            features = self.encoder(
                input_ids[:1], attention_mask[:1], token_type_ids[:1], position_ids[:1], **kwargs
            ).last_hidden_state
            self._known[self.caption] = features
        return BaseModelOutput(last_hidden_state=features.expand(len(input_ids), -1, -1))
