"""SAM 2 on single pictures (arXiv 2408.00714): one embedding, all boxes in one decoder pass.

The same steps as sam2's SAM2ImagePredictor, whose feature sizes are fixed to 1024 px models, with
the picture resized on the device from 8-bit pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from annotate.data.types import Image
from annotate.models import precision
from annotate.models.devices import shares_passes
from annotate.models.pictures import on_device
from annotate.models.transfer import indices
from annotate.segment.sam2.heads import Heads

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the image encoder knows of one picture; `s` is the model's side over its stride."""

    features: Tensor  # (1, c, s, s)
    position: Tensor  # (1, c, s, s), of the features
    high_res: list[Tensor]  # (1, c/8, 4s, 4s), (1, c/4, 2s, 2s)
    size_hw: tuple[int, int]  # of the picture, px


class Sam2Image:
    """Box prompts to mask logits, for any SAM2Base."""

    def __init__(self, model: Any, *, device: torch.device) -> None:
        self.device = device
        self.model = model.to(device).eval()
        self.heads = Heads(self.model)
        self._mean = torch.tensor(_MEAN, device=device).view(3, 1, 1) * 255
        self._std = torch.tensor(_STD, device=device).view(3, 1, 1) * 255

    def embed(self, image: Image) -> Embedding:
        """Encode one RGB image."""
        (embedding,) = self.embed_all([image])
        return embedding

    @torch.inference_mode()
    def embed_all(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode RGB images, whatever their sizes: on a GPU in one pass, on a CPU one by one."""
        if len(images) > 1 and not shares_passes(self.device):
            return [embedding for image in images for embedding in self.embed_all([image])]
        with self.autocast():
            out = self.model.forward_image(torch.stack([self._prepared(i) for i in images]))
        levels = out["backbone_fpn"][-self.model.num_feature_levels :]
        position = out["vision_pos_enc"][-1][:1]
        found = []
        for image, *own in zip(images, *(level.split(1) for level in levels), strict=True):
            *high_res, features = own
            found.append(Embedding(features, position, high_res, image.shape[:2]))
        return found

    def _prepared(self, image: Image) -> Tensor:
        side = self.model.image_size
        pixels = on_device(image, self.device).float()
        # Scaled after it was made small: at 4K a division costs as much as the resizing.
        pixels = transforms.resize(pixels, [side, side], antialias=True)
        prepared: Tensor = (pixels - self._mean) / self._std
        return prepared

    def decode(self, embedding: Embedding, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (k >= 1, 4) xyxy px to mask logits (k, 4s, 4s) and IoU estimates (k,)."""
        (made,) = self.decode_all([embedding], [boxes_k4])
        return made

    @torch.inference_mode()
    def decode_all(
        self, embeddings: Sequence[Embedding], boxes: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """As `decode`, of several pictures: on a GPU in one pass, on a CPU one by one."""
        if len(embeddings) > 1 and not shares_passes(self.device):
            each = zip(embeddings, boxes, strict=True)
            return [made for e, some in each for made in self.decode_all([e], [some])]
        side, counts = self.model.image_size, [len(some) for some in boxes]
        corners = [box_corners(b, e, side) for b, e in zip(boxes, embeddings, strict=True)]
        features, *high_res = (
            torch.cat(levels) if len(levels) > 1 else levels[0]
            for levels in zip(*((e.features, *e.high_res) for e in embeddings), strict=True)
        )
        if len(embeddings) > 1:
            picture = tuple(n for n, count in enumerate(counts) for _ in range(count))
            index = indices(picture, self.device)
            features, *high_res = (level.index_select(0, index) for level in (features, *high_res))
        features = features.float()
        if self.model.directly_add_no_mem_embed:
            features = features + self.model.no_mem_embed.view(1, -1, 1, 1)
        prompts = self.heads.boxes(torch.cat(corners).to(self.device))
        said = self.heads.decode(features, high_res, prompts, multimask=False)
        # The bound of sam2's own predictor, which keeps later interpolation tame.
        logits, ious = said.logits[:, 0].float().clamp(-32, 32), said.ious[:, 0].float()
        return list(zip(torch.split(logits, counts), torch.split(ious, counts), strict=True))

    def autocast(self) -> torch.autocast:
        """Half precision where it pays, for all but the heads."""
        return precision.autocast(self.device)


def box_corners(boxes_k4: Tensor, embedding: Embedding, side: int) -> Tensor:
    """Boxes (k, 4) xyxy px as SAM's corner points (k, 2, 2) in model pixels."""
    h, w = embedding.size_hw
    scale = boxes_k4.new_tensor([side / w, side / h])
    return boxes_k4.view(-1, 2, 2) * scale
