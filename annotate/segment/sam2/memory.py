"""SAM 2's memory for videos (arXiv 2408.00714, section 4), all objects of a frame in one pass.

The weights and the mathematics are sam2's; what differs from its SAM2VideoPredictor is the
book-keeping. Frames come one at a time, objects join and leave at any frame, and what is kept of
them is `annotate.segment.sam2.bank`. Objects with equal memories share a pass of attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from annotate.models.transfer import indices
from annotate.segment.base import Prediction
from annotate.segment.sam2.bank import MemoryBank, Remembered
from annotate.segment.sam2.image import Embedding, Sam2Image, box_corners

# Bytes of memory tokens attended at a time on a CPU: beyond, attention waits for main memory. At
# full size an object has 7 MiB, and 16 of them in one pass took 9 % longer than one by one.
CPU_CACHE = 8 * 2**20


class Sam2Memory:
    """Seeds objects, carries them to the next frame, and remembers them in a MemoryBank."""

    state_classes: tuple[type, ...] = ()

    def __init__(self, image: Sam2Image) -> None:
        self.image = image
        self.model = image.model
        self._heads = image.heads
        self._memory_position: Tensor | None = None  # (m, s, s), the same for every memory

    @property
    def side(self) -> int:
        """Of the model's square, px."""
        return int(self.model.image_size)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.image.device

    def bank(self, *, max_anchors: int) -> MemoryBank:
        """An empty bank for one video."""
        return MemoryBank(self.model, max_anchors=max_anchors)

    def state(self, bank: MemoryBank) -> dict[str, Any]:
        """A bank, and what its memories need to be read, as plain values."""
        return {"bank": bank.state(), "position": self._memory_position}

    def restore(self, bank: MemoryBank, state: dict[str, Any]) -> None:
        """Fill a bank with what `state` gave."""
        bank.restore(state["bank"])
        self._memory_position = state["position"]

    @torch.inference_mode()
    def seed_masks(self, embedding: Embedding, masks_khw: Tensor) -> Prediction:
        """Objects given as bool masks (k, h, w) at frame size; the masks are taken as they are."""
        side = self.model.image_size
        masks = masks_khw[:, None].to(self.image.device).float()
        if masks.shape[-2:] != (side, side):
            masks = functional.interpolate(
                masks, (side, side), mode="bilinear", align_corners=False, antialias=True
            )
        masks = (masks >= 0.5).float()
        # As SAM2Base._use_mask_as_output: a prompted mask is the answer, and hard.
        logits = functional.interpolate(
            masks * 20 - 10, (side // 4, side // 4), mode="bilinear", antialias=True
        )[:, 0]
        there = masks.flatten(1).amax(1, keepdim=True)
        k = len(masks)
        if self.model.use_obj_ptrs_in_encoder:
            _, _, pointers, _ = self._heads.track(
                embedding.features,
                embedding.high_res,
                self._heads.no_prompt(k),
                masks=self.model.mask_downsample(masks),
            )
        else:
            pointers = masks.new_zeros(k, self.model.hidden_dim)
        pointers = self._heads.with_absence(pointers, there)
        return Prediction(logits, masks.new_ones(k), there[:, 0] * 20 - 10, pointers)

    @torch.inference_mode()
    def seed_boxes(self, embedding: Embedding, boxes_k4: Tensor) -> Prediction:
        """Objects given as boxes (k, 4) xyxy px."""
        corners = box_corners(boxes_k4, embedding, self.side).to(self.image.device)
        return self._seed(embedding, self._heads.boxes(corners), points=2)

    @torch.inference_mode()
    def seed_points(
        self, embedding: Embedding, points_kp2: Tensor, labels_kp: Tensor
    ) -> Prediction:
        """Objects given as points (k, p, 2) in model pixels, labelled as SAM does.

        SAM's prompt encoder takes the centre of the pixel that a point names, so it adds 0.5.
        """
        prompts = self._heads.points(points_kp2, labels_kp)
        return self._seed(embedding, prompts, points=points_kp2.shape[1])

    def _seed(self, embedding: Embedding, prompts_knc: Tensor, *, points: int) -> Prediction:
        features = embedding.features + self.model.no_mem_embed.view(1, -1, 1, 1)
        return self._said(features, embedding, prompts_knc, self._multimask(True, points))

    @torch.inference_mode()
    def carry(
        self, embedding: Embedding, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> Prediction:
        """Find the objects `ids` of the bank in the frame at `time`, in one pass."""
        features = self._recall(embedding, bank, ids, time)
        nothing = self._heads.no_prompt(len(ids))
        return self._said(features, embedding, nothing, self._multimask(False, 0))

    def _multimask(self, first: bool, points: int) -> bool:
        """Whether the best of several masks is taken, as SAM2Base._use_multimask has it."""
        model = self.model
        return bool(
            model.multimask_output_in_sam
            and (first or model.multimask_output_for_tracking)
            and model.multimask_min_pt_num <= points <= model.multimask_max_pt_num
        )

    def _said(
        self, features: Tensor, embedding: Embedding, prompts_knc: Tensor, multimask: bool
    ) -> Prediction:
        """Not under autocast: of a mask, and of whether there is one, the heads decide."""
        logits, ious, pointers, present = self._heads.track(
            features, embedding.high_res, prompts_knc, multimask=multimask
        )
        return Prediction(logits, ious, present, pointers)

    @torch.inference_mode()
    def encode(
        self, embedding: Embedding, logits_kss: Tensor, present_k: Tensor, *, prompted: bool
    ) -> Tensor:
        """Mask memories (k, m, s, s) of objects whose masks are given as low-resolution logits."""
        side = self.model.image_size
        k = len(logits_kss)
        masks = functional.interpolate(
            logits_kss[:, None], (side, side), mode="bilinear", align_corners=False
        )
        if prompted:  # as sam2's video predictor: a prompted mask is remembered as hard
            masks = torch.where(masks > 0, 1e4, -1e4).to(masks)
        top = embedding.features.expand(k, -1, -1, -1).flatten(2).permute(2, 0, 1)
        with self.image.autocast():
            features, positions = self.model._encode_new_memory(
                current_vision_feats=[top],
                feat_sizes=[tuple(embedding.features.shape[-2:])],
                pred_masks_high_res=masks,
                object_score_logits=present_k[:, None],
                is_mask_from_pts=False,
            )
        if self._memory_position is None:
            self._memory_position = positions[-1][0]
        remembered: Tensor = features
        return remembered

    def _recall(
        self, embedding: Embedding, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> Tensor:
        """The frame's features (k, c, s, s), conditioned on what the bank holds of each object."""
        tokens = embedding.features.flatten(2).transpose(1, 2)  # (1, n, c)
        place = embedding.position.flatten(2).transpose(1, 2)
        attention = self.model.memory_attention
        first, *others = attention.layers
        groups: list[Tensor] = []
        places: list[int] = []
        with self.image.autocast():
            out = tokens + 0.1 * place if attention.pos_enc_at_input else tokens
            # Every object sees the same frame, so the first self-attention is shared: there is
            # one row until the objects' memories set them apart.
            shared = first._forward_sa(out, place)
            for held in bank.recall(ids, time):
                places += held.places
                memory, position = self._tokens(held)
                pointers = memory.shape[1] - held.tokens.shape[1] * held.tokens.shape[2]
                mask = self._mask(held, pointers)
                for rows in self._in_cache(memory):
                    some = memory[rows]
                    told = (some, some + position[rows], place, pointers)
                    real = None if mask is None else mask[rows]
                    out = _told(first, shared.expand(len(some), -1, -1), *told, real)
                    for layer in others:
                        out = _told(layer, layer._forward_sa(out, place), *told, real)
                    groups.append(attention.norm(out))
        whole = torch.cat(groups) if len(groups) > 1 else groups[0]
        if places != sorted(places):
            order = sorted(range(len(places)), key=places.__getitem__)
            whole = whole.index_select(0, indices(tuple(order), whole.device))
        conditioned = whole.transpose(1, 2)
        return conditioned.reshape(len(ids), -1, *embedding.features.shape[-2:])

    def _in_cache(self, memory: Tensor) -> Iterator[slice]:
        """Rows to attend at a time: all of them on a GPU, what a CPU's cache can hold there."""
        at_once = objects = len(memory)
        if self.image.device.type == "cpu":
            per_object = memory[0].numel() * memory.element_size()
            at_once = max(1, CPU_CACHE // per_object)
        for start in range(0, objects, at_once):
            yield slice(start, start + at_once)

    def _tokens(self, held: Remembered) -> tuple[Tensor, Tensor]:
        """Memories as tokens (g, n, m), pointers last, and their positions (g, n, m)."""
        assert self._memory_position is not None
        model = self.model
        base = self._memory_position.flatten(1).T  # (s*s, m)
        times = model.maskmem_tpos_enc.view(model.num_maskmem, -1)
        # Time is counted backwards, and what was prompted stands behind all of it.
        which = tuple(age - 1 if age else model.num_maskmem - 1 for age in held.ages)
        places = times.index_select(0, indices(which, times.device))[:, None] + base
        pointers, pointer_places = self._pointer_tokens(held.pointers, held.distances)
        spatial = held.tokens.flatten(1, 2)
        tokens = torch.cat([spatial, pointers.to(spatial.dtype)], 1)
        alike = places.flatten(0, 1).expand(len(tokens), -1, -1)
        return tokens, torch.cat([alike, pointer_places], 1)

    def _mask(self, held: Remembered, pointer_tokens: int) -> Tensor | None:
        """Which tokens are real (g, 1, 1, n); None where all are."""
        if held.known is None:
            return None
        masks, pointers = (torch.from_numpy(known) for known in held.known)
        per_mask, per_pointer = held.tokens.shape[2], pointer_tokens // pointers.shape[1]
        real = [
            masks.repeat_interleave(per_mask, dim=1),
            pointers.repeat_interleave(per_pointer, dim=1),
        ]
        return torch.cat(real, 1)[:, None, None].to(self.image.device)

    def _pointer_tokens(self, pointers: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Pointers (g, p, c) as memory tokens (g, p * c/m, m), and how long ago they were."""
        from sam2.modeling.sam2_utils import get_1d_sine_pe

        model = self.model
        g, p, c = pointers.shape
        m = model.mem_dim
        tokens = pointers.reshape(g, p * (c // m), m)
        if not model.add_tpos_enc_to_obj_ptrs:
            return tokens, torch.zeros_like(tokens)
        width = c if model.proj_tpos_enc_in_obj_ptrs else m
        ago = distances.flatten() / (model.max_obj_ptrs_in_encoder - 1)
        places = model.obj_ptr_tpos_proj(get_1d_sine_pe(ago, dim=width)).view(g, p, m)
        return tokens, places.repeat_interleave(c // m, dim=1)


def _told(
    layer: Any,
    out: Tensor,
    memory: Tensor,
    placed: Tensor,
    place: Tensor,
    pointer_tokens: int,
    mask: Tensor | None,
) -> Tensor:
    """The rest of a layer after its self-attention, as in sam2's but with a mask of the keys.

    `placed` is the memory with its positions.
    """
    from sam2.modeling.position_encoding import apply_rotary_enc

    attention = layer.cross_attn_image
    query = layer.norm2(out)
    q = attention.q_proj(query + place if layer.pos_enc_at_cross_attn_queries else query)
    k = attention.k_proj(placed if layer.pos_enc_at_cross_attn_keys else memory)
    v = attention.v_proj(memory)
    q, k, v = (attention._separate_heads(x, attention.num_heads) for x in (q, k, v))
    spatial = k.shape[2] - pointer_tokens
    cis = attention.freqs_cis
    if cis.shape[0] != q.shape[2]:  # the yaml's feat_sizes need not be those of this image size
        side = round(q.shape[2] ** 0.5)
        cis = attention.compute_cis(end_x=side, end_y=side)
    attention.freqs_cis = cis = cis.to(q.device)  # as sam2's own forward keeps it
    q, rotated = apply_rotary_enc(
        q, k[:, :, :spatial], freqs_cis=cis, repeat_freqs_k=attention.rope_k_repeat
    )
    k = torch.cat([rotated, k[:, :, spatial:]], 2)
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = out + attention.out_proj(attention._recombine_heads(attended))
    told: Tensor = out + layer.linear2(layer.activation(layer.linear1(layer.norm3(out))))
    return told
