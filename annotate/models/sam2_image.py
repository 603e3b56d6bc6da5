"""SAM 2 on stills (arXiv 2408.00714): one image embedding, all boxes in one decoder pass.

The same steps as sam2's SAM2ImagePredictor, whose feature sizes are fixed to 1024 px models, with
the picture resized on the device from 8-bit pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from annotate.types import Image

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the image encoder knows of one picture."""

    features: Tensor  # (1, c, h/16, w/16)
    high_res: list[Tensor]  # (1, c/8, h/4, w/4), (1, c/4, h/8, w/8)
    size_hw: tuple[int, int]  # of the picture, px


class Sam2Image:
    """Box prompts to mask logits, for any SAM2Base."""

    def __init__(self, model: Any, *, device: torch.device) -> None:
        self.device = device
        self._model = model.to(device).eval()
        self._mean = torch.tensor(_MEAN, device=device).view(3, 1, 1)
        self._std = torch.tensor(_STD, device=device).view(3, 1, 1)

    @torch.inference_mode()
    def embed(self, image: Image) -> Embedding:
        """Encode one RGB image."""
        side = self._model.image_size
        pixels = torch.from_numpy(np.array(image)).to(self.device).permute(2, 0, 1).float() / 255
        pixels = transforms.resize(pixels, [side, side], antialias=True)
        with self._autocast():
            out = self._model.forward_image(((pixels - self._mean) / self._std)[None])
            _, features, _, sizes = self._model._prepare_backbone_features(out)
        if self._model.directly_add_no_mem_embed:
            features[-1] = features[-1] + self._model.no_mem_embed
        maps = [f.permute(1, 2, 0).view(1, -1, *s) for f, s in zip(features, sizes, strict=True)]
        return Embedding(features=maps[-1], high_res=maps[:-1], size_hw=image.shape[:2])

    @torch.inference_mode()
    def decode(self, embedding: Embedding, boxes_k4: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (k, 4) xyxy px to low-resolution mask logits (k, s, s) and IoU estimates (k,)."""
        h, w = embedding.size_hw
        corners = boxes_k4.to(self.device).view(-1, 2, 2) / torch.tensor([w, h], device=self.device)
        labels = torch.tensor([[2, 3]], dtype=torch.int32, device=self.device)
        with self._autocast():
            sparse, dense = self._model.sam_prompt_encoder(
                points=(corners * self._model.image_size, labels.expand(len(corners), -1)),
                boxes=None,
                masks=None,
            )
            logits, ious, _, _ = self._model.sam_mask_decoder(
                image_embeddings=embedding.features,
                image_pe=self._model.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
                repeat_image=True,
                high_res_features=embedding.high_res,
            )
        # The bound of sam2's own predictor, which keeps later interpolation tame.
        return logits[:, 0].float().clamp(-32, 32), ious[:, 0].float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")


def upsample_masks(logits_kss: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Low-resolution logits (k, s, s) to bool masks (k, h, w) at frame size."""
    return F.interpolate(logits_kss[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0] > 0
