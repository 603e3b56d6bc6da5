"""The phrases of a class list as SAM 3's concepts: found one by one in a picture encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from annotate.data import geometry
from annotate.data.types import ClassList, Image, Rle, spoken
from annotate.errors import PromptError
from annotate.ground.base import Candidates
from annotate.models import precision
from annotate.models.pictures import on_device

SAME_PLACE_IOU = 0.5  # of two boxes, from which a negative speaks against a find


@dataclass(frozen=True, slots=True)
class _Text:
    """A phrase as SAM 3 reads it."""

    phrase: str
    features: Any  # of the text encoder
    mask: Tensor  # (1, n) which tokens are real


@dataclass(frozen=True, slots=True)
class _Found:
    """What one phrase finds in a picture, from the floor on."""

    boxes: Tensor  # (m, 4) xyxy shares of the picture
    scores: Tensor  # (m,)
    logits: Tensor  # (m, a, b) of masks


class Concepts:
    """The classes of one class list, with the model that finds them."""

    def __init__(
        self, model: Any, processor: Any, classes: ClassList, *, device: torch.device
    ) -> None:
        """Raises PromptError for a phrase that is too long to be read."""
        self._model, self._processor, self._device = model, processor, device
        self._classes = [
            ([self._read(p) for p in spec.phrases], [self._read(p) for p in spec.negatives])
            for spec in classes.classes
        ]

    @torch.inference_mode()
    def find(self, image: Image, floor: float) -> Candidates:
        """Candidates in one picture. A find that a negative outscores in its place is left out."""
        seen = self._look(image)
        rows: list[tuple[int, str, _Found]] = []
        for class_id, (phrases, negatives) in enumerate(self._classes):
            against = [self._ask(seen, text, floor) for text in negatives]
            for text in phrases:
                found = _outscoring(self._ask(seen, text, floor), against)
                rows.append((class_id, text.phrase, found))
        h, w = image.shape[:2]
        boxes = torch.cat([found.boxes for *_, found in rows])
        counts = [len(found.scores) for *_, found in rows]
        return Candidates(
            boxes_xyxy=boxes * torch.tensor([w, h, w, h], device=boxes.device),
            scores=torch.cat([found.scores for *_, found in rows]),
            class_ids=torch.tensor(np.repeat([c for c, *_ in rows], counts).tolist()).long(),
            phrases=[p for (_, p, _), n in zip(rows, counts, strict=True) for _ in range(n)],
            masks=Masks([mask for *_, found in rows for mask in found.logits], (h, w)),
        )

    @torch.inference_mode()
    def _read(self, phrase: str) -> _Text:
        tokenizer = self._processor.tokenizer
        length = self._model.config.text_config.max_position_embeddings
        said = spoken(phrase)
        if (tokens := len(tokenizer(said)["input_ids"])) > length:
            raise PromptError(
                f"phrase {phrase!r}: {tokens} tokens, more than SAM 3's {length}; shorten it"
            )
        read = tokenizer(said, return_tensors="pt", padding="max_length", max_length=length)
        ids, mask = read["input_ids"].to(self._device), read["attention_mask"].to(self._device)
        return _Text(phrase, self._model.get_text_features(ids, mask, return_dict=True), mask)

    def _look(self, image: Image) -> Any:
        """Encode a picture, which all phrases share."""
        pixels = on_device(image, self._device)
        prepared = self._processor.image_processor(
            images=[pixels], return_tensors="pt", input_data_format="channels_first"
        )
        with precision.autocast(self._device):
            seen = self._model.get_vision_features(prepared["pixel_values"])
        seen.fpn_hidden_states = tuple(level.float() for level in seen.fpn_hidden_states)
        seen.fpn_position_encoding = tuple(level.float() for level in seen.fpn_position_encoding)
        return seen

    def _ask(self, seen: Any, text: _Text, floor: float) -> _Found:
        """What a phrase finds: a query counts as far as the model takes the concept for present."""
        # Not under autocast: decoder and heads decide.
        out = self._model(vision_embeds=seen, text_embeds=text.features, attention_mask=text.mask)
        scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
        rows = (scores >= floor).nonzero()[:, 0]
        return _Found(out.pred_boxes[0, rows], scores[rows], out.pred_masks[0, rows])


def _outscoring(found: _Found, against: Sequence[_Found]) -> _Found:
    """The finds that no negative outscores where they are."""
    stands = torch.ones_like(found.scores, dtype=torch.bool)
    for other in against:
        there = box_iou(found.boxes, other.boxes) >= SAME_PLACE_IOU
        stands &= ~(there & (other.scores >= found.scores[:, None])).any(1)
    return _Found(found.boxes[stands], found.scores[stands], found.logits[stands])


class Masks(Sequence[Rle | None]):
    """Masks of a picture's candidates, brought to its size when they are asked for.

    Of many candidates few become detections.
    """

    def __init__(self, logits_ab: Sequence[Tensor], size_hw: tuple[int, int]) -> None:
        self._logits, self._size_hw = logits_ab, size_hw

    def __len__(self) -> int:
        return len(self._logits)

    @overload
    def __getitem__(self, row: int) -> Rle: ...
    @overload
    def __getitem__(self, row: slice) -> Masks: ...
    def __getitem__(self, row: int | slice) -> Rle | Masks:
        if isinstance(row, slice):
            return Masks(self._logits[row], self._size_hw)
        # Shares, not logits, are interpolated, as SAM 3's own post-processing does.
        shares = self._logits[row].sigmoid()[None, None]
        mask = functional.interpolate(shares, self._size_hw, mode="bilinear")[0] > 0.5
        (counts,) = geometry.encode_masks(mask.cpu().numpy())
        return Rle(counts, self._size_hw)
