"""The phrases of a class list as Florence-2's prompts, and its replies as candidates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import box_iou

from annotate.data.types import ClassList, Image, spoken
from annotate.errors import ConfigError, PromptError
from annotate.ground.base import Candidates
from annotate.ground.florence2.replies import boxes_in
from annotate.models import precision
from annotate.models.pictures import on_device

TASKS = {
    "open_vocabulary": "<OPEN_VOCABULARY_DETECTION>",
    "phrase_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
}
SAME_PLACE_IOU = 0.5  # of two boxes, from which a negative speaks against a find

Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One phrase, and what it is for."""

    phrase: str
    class_id: int
    negative: bool


class Writer:
    """Asks for every phrase in a picture that is encoded once."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        classes: ClassList,
        *,
        mode: str,
        beams: int,
        max_new_tokens: int,
        at_once: int,
        device: torch.device,
    ) -> None:
        """`at_once`: phrases in one pass. Raises PromptError for one that cannot be read."""
        self._model, self._processor, self._device = model, processor, device
        self._most = model.config.text_config.max_position_embeddings  # tokens, read or written
        if max_new_tokens > self._most:
            raise ConfigError(
                f"ground.max_new_tokens={max_new_tokens}: more than the {self._most} that this "
                "Florence-2 can write"
            )
        model.generation_config.max_length = None  # it is warned of at every reply
        self._options = {
            "num_beams": beams, "max_new_tokens": max_new_tokens, "do_sample": False,
        }  # fmt: skip
        self._at_once = at_once
        self._prompt = processor.task_prompts_with_input[TASKS[mode]]
        self._asked = [
            _Asked(phrase, class_id, negative)
            for class_id, spec in enumerate(classes.classes)
            for phrases, negative in ((spec.phrases, False), (spec.negatives, True))
            for phrase in phrases
        ]
        self._batches = [self._read(some) for some in _batched(self._asked, at_once)]
        self.left_out: Counter[str] = Counter()

    @torch.inference_mode()
    def find(self, image: Image) -> Candidates:
        """Candidates in one picture. A find in the place of a negative's is left out."""
        size_hw = image.shape[0], image.shape[1]
        features = self._look(image)
        replies = [reply for batch in self._batches for reply in self._replies(features, *batch)]
        found: list[tuple[_Asked, Boxes]] = []
        for asked, reply in zip(self._asked, replies, strict=True):
            boxes, broken = boxes_in(reply, size_hw)
            found.append((asked, boxes))
            if broken:
                self.left_out["places in replies that are not whole"] += broken
        kept = [
            (asked, _not_among(boxes, [b for a, b in found if _speaks_against(a, asked)]))
            for asked, boxes in found
            if not asked.negative
        ]
        counts = [len(boxes) for _, boxes in kept]
        return Candidates(
            boxes_xyxy=np.concatenate([boxes for _, boxes in kept]),
            scores=np.ones(sum(counts), np.float32),
            class_ids=np.repeat([asked.class_id for asked, _ in kept], counts),
            phrases=[a.phrase for (a, _), n in zip(kept, counts, strict=True) for _ in range(n)],
        )

    def _look(self, image: Image) -> Tensor:
        """What the picture is to the text model, (1, n, d)."""
        pixels = on_device(image, self._device)
        prepared = self._processor.image_processor(
            images=[pixels], return_tensors="pt", input_data_format="channels_first"
        )["pixel_values"]
        with precision.autocast(self._device):
            features: Tensor = self._model.get_image_features(prepared).pooler_output
        return features.float()

    def _replies(self, features: Tensor, ids: Tensor, mask: Tensor) -> list[str]:
        """What is written for each prompt."""
        words = self._model.get_input_embeddings()(ids)
        seen = features.expand(len(ids), -1, -1)
        place = self._model.get_placeholder_mask(ids, inputs_embeds=words, image_features=seen)
        words = words.masked_scatter(place, seen.to(words))
        encoded = self._model.get_encoder()(inputs_embeds=words, attention_mask=mask)
        written = self._model.generate(
            encoder_outputs=encoded, attention_mask=mask, **self._options
        )
        replies: list[str] = self._processor.batch_decode(written, skip_special_tokens=False)
        return replies

    def _read(self, asked: list[_Asked]) -> tuple[Tensor, Tensor]:
        """Token ids and which of them are real, (k, n) each."""
        tokenizer, processor = self._processor.tokenizer, self._processor
        picture = processor.image_token * processor.num_image_tokens
        said = [self._prompt.format(input=spoken(a.phrase).lower()) for a in asked]
        whole = [f"{picture}{tokenizer.bos_token}{s}{tokenizer.eos_token}" for s in said]
        read = tokenizer(whole, return_tensors="pt", padding=True, add_special_tokens=False)
        pictures = (read["input_ids"] == processor.image_token_id).sum(1)
        for one, mask, count in zip(asked, read["attention_mask"], pictures, strict=True):
            if int(mask.sum()) > self._most:
                raise PromptError(
                    f"phrase {one.phrase!r}: {int(mask.sum())} tokens with the picture's, more "
                    f"than Florence-2's {self._most}; shorten it"
                )
            if int(count) > processor.num_image_tokens:
                raise PromptError(
                    f"phrase {one.phrase!r}: {processor.image_token} stands for the picture in "
                    "Florence-2's prompts; say it in other words"
                )
        return read["input_ids"].to(self._device), read["attention_mask"].to(self._device)


def _batched(asked: list[_Asked], at_once: int) -> list[list[_Asked]]:
    return [asked[at : at + at_once] for at in range(0, len(asked), at_once)]


def _speaks_against(one: _Asked, other: _Asked) -> bool:
    return one.negative and one.class_id == other.class_id


def _not_among(boxes: Boxes, others: list[Boxes]) -> Boxes:
    """The boxes that lie where none of the others does."""
    against = np.concatenate([np.zeros((0, 4), np.float32), *others])
    iou = box_iou(torch.from_numpy(boxes), torch.from_numpy(against)).numpy()
    stands: Boxes = boxes[~(iou >= SAME_PLACE_IOU).any(1)]
    return stands
