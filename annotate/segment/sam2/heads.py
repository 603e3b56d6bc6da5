"""SAM 2's prompt encoder and mask decoder (arXiv 2408.00714), without what no prompt changes.

The same steps as sam2's `SAM2Base._forward_sam_heads`, but masks stay at the decoder's resolution,
and what does not depend on a picture or a prompt is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

ABSENT = -1024.0  # logits of an object that is not in the frame, as in sam2


@dataclass(frozen=True, slots=True)
class Said:
    """What the decoder says of k prompts, m masks each."""

    logits: Tensor  # (k, m, 4s, 4s)
    ious: Tensor  # (k, m)
    tokens: Tensor  # (k, m or 1, c)
    present: Tensor  # (k, 1) logits


class Heads:
    """Computed in float32: of a mask, and of whether there is one, they decide."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._prompts = model.sam_prompt_encoder

    @cached_property
    def _places(self) -> Tensor:
        """Where each feature lies, (1, c, s, s)."""
        places: Tensor = self._prompts.get_dense_pe().clone()
        return places

    def no_prompt(self, k: int) -> Tensor:
        """What stands for the prompts of k objects that have none, (k, 2, c)."""
        nothing: Tensor = self._prompts.not_a_point_embed.weight
        return nothing[None].expand(k, 2, -1)

    def boxes(self, corners_k22: Tensor) -> Tensor:
        """Corners (k, 2, 2) xy in px of the model, (k, 3, c): SAM pads them with one point more."""
        corners = self._prompts._embed_boxes(corners_k22)
        padding = self._prompts.not_a_point_embed.weight[None].expand(len(corners), 1, -1)
        return torch.cat([corners, padding], 1)

    def points(self, points_kp2: Tensor, labels_kp: Tensor) -> Tensor:
        """Points (k, p, 2) in px of the model with labels (k, p), (k, p + 1, c)."""
        embedded: Tensor = self._prompts._embed_points(points_kp2, labels_kp, pad=True)
        return embedded

    def decode(
        self,
        features: Tensor,
        high_res: Sequence[Tensor],
        prompts_knc: Tensor,
        *,
        masks: Tensor | None = None,
        multimask: bool,
    ) -> Said:
        """Features (k or 1, c, s, s) and finer ones of the pictures to what k prompts show there.

        `masks` (k, 1, 4s, 4s) prompt too.
        """
        dense = self._prompts.no_mask_embed.weight.view(1, -1, 1, 1)
        if masks is not None:
            dense = self._prompts._embed_masks(masks)
        k = len(prompts_knc)
        said = self._model.sam_mask_decoder(
            image_embeddings=features.float().expand(k, -1, -1, -1),
            image_pe=self._places,
            sparse_prompt_embeddings=prompts_knc,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[level.float() for level in high_res],
        )
        return Said(*said)

    def track(
        self,
        features: Tensor,
        high_res: Sequence[Tensor],
        prompts_knc: Tensor,
        *,
        masks: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each object its best mask (k, 4s, 4s), IoU estimate (k,), pointer (k, c), presence.

        Presence (k,) is in logits, above 0 for an object that is in the frame.
        """
        said = self.decode(features, high_res, prompts_knc, masks=masks, multimask=multimask)
        logits, ious, tokens = said.logits.float(), said.ious.float(), said.tokens
        if logits.shape[1] > 1:
            best = ious.argmax(1)
            rows = torch.arange(len(best), device=best.device)
            logits, ious = logits[rows, best], ious[rows, best]
            token = tokens[rows, best] if tokens.shape[1] > 1 else tokens[:, 0]
        else:
            logits, ious, token = logits[:, 0], ious[:, 0], tokens[:, 0]
        if self._model.pred_obj_scores:
            logits = torch.where(said.present[:, :, None] > 0, logits, ABSENT)
        soft = self._model.soft_no_obj_ptr
        there = said.present.sigmoid() if soft else (said.present > 0).float()
        pointer = self.with_absence(self._model.obj_ptr_proj(token), there)
        return logits, ious, pointer, said.present[:, 0]

    def with_absence(self, pointers_kc: Tensor, there_k1: Tensor) -> Tensor:
        """Pointers as they are remembered of objects that are in the frame as far as 0..1."""
        model = self._model
        if not model.pred_obj_scores:
            return pointers_kc
        if model.fixed_no_obj_ptr:
            pointers_kc = there_k1 * pointers_kc
        known: Tensor = pointers_kc + (1 - there_k1) * model.no_obj_ptr
        return known
