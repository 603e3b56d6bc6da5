"""A SAM of transformers on single pictures: one embedding, all boxes in one decoder pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from annotate.data.types import Image
from annotate.models import precision
from annotate.models.pictures import on_device


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the image encoder knows of one picture."""

    features: Mapping[str, Any]  # keywords of the model's forward
    size_hw: tuple[int, int]  # of the picture, px
    shown_hw: tuple[int, int]  # of the picture in the model's input, px
    input_hw: tuple[int, int]  # of the model's input, px
    padded: bool  # the picture keeps its aspect there, and the rest is padding


class Predictor:
    """Box prompts to mask logits. Pictures are prepared as the checkpoint's own processor does."""

    def __init__(self, model: Any, processor: Any, *, device: torch.device) -> None:
        self._model, self._processor, self._device = model, processor, device

    @torch.inference_mode()
    def embed(self, image: Image) -> Embedding:
        """Encode one RGB image."""
        pixels = on_device(image, self._device)
        prepared = self._processor(
            images=[pixels], return_tensors="pt", input_data_format="channels_first"
        )
        values = prepared["pixel_values"]
        with precision.autocast(self._device):
            found = self._model.get_image_embeddings(values)
        input_hw = values.shape[-2], values.shape[-1]
        # SAM keeps the aspect and pads; SAM 2 stretches the picture over the whole input.
        padded = "reshaped_input_sizes" in prepared
        shown_h, shown_w = map(int, prepared["reshaped_input_sizes"][0]) if padded else input_hw
        return Embedding(_keywords(found), image.shape[:2], (shown_h, shown_w), input_hw, padded)

    @torch.inference_mode()
    def decode(self, embedding: Embedding, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (k >= 1, 4) xyxy px to mask logits (k, a, b) and IoU estimates (k,).

        One mask a box: the one that SAM learnt for prompts which are not ambiguous.
        """
        boxes = boxes_in_input(boxes_k4.to(self._device), embedding)
        # Not under autocast: of a mask, the decoder decides.
        out = self._model(**embedding.features, input_boxes=boxes[None], multimask_output=False)
        logits = of_picture(out.pred_masks[0, :, 0].float(), embedding)
        # The first SAM's estimate comes from a linear layer, and may leave 0..1.
        return logits, out.iou_scores[0, :, 0].float().clamp(0, 1)


def boxes_in_input(boxes_k4: Tensor, embedding: Embedding) -> Tensor:
    """Boxes (k, 4) xyxy px of the picture to px of the model's input.

    SAM's prompt encoder itself adds the half pixel to the centre of the pixel.
    """
    (h, w), (shown_h, shown_w) = embedding.size_hw, embedding.shown_hw
    scale = [shown_w / w, shown_h / h]
    return boxes_k4.float() * torch.tensor([*scale, *scale], device=boxes_k4.device)


def of_picture(logits_kab: Tensor, embedding: Embedding) -> Tensor:
    """Logits over the model's input to those over the picture alone.

    Where there is padding they are brought to the input's resolution first, as SAM's own
    post-processing does: a picture need not end with a logit, and what lies beyond its edge counts.
    """
    if not embedding.padded:
        return logits_kab
    up = functional.interpolate(
        logits_kab[:, None], embedding.input_hw, mode="bilinear", align_corners=False
    )
    rows, columns = embedding.shown_hw
    return up[:, 0, :rows, :columns]


def _keywords(found: Any) -> dict[str, Any]:
    """What `get_image_embeddings` gives, in whole precision, as the model's forward takes it."""
    if isinstance(found, tuple):  # SAM-HQ, whose decoder looks at the first of the levels alone
        features, (level, *_) = found
        return {"image_embeddings": features.float(), "intermediate_embeddings": [level.float()]}
    if isinstance(found, list):  # SAM 2 and EdgeTAM, from fine to coarse
        return {"image_embeddings": [level.float() for level in found]}
    return {"image_embeddings": found.float()}
