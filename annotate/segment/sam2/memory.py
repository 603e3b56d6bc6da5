"""SAM 2's memory for videos (arXiv 2408.00714, section 4), all objects of a frame in one pass.

The weights and the mathematics are sam2's; what differs from its SAM2VideoPredictor is the
book-keeping. Frames come one at a time, objects join and leave at any frame, and only what
attention can still reach is kept: per object its anchors (frames where it was prompted), the
`num_maskmem - 1` newest mask memories and the `max_obj_ptrs_in_encoder - 1` newest pointers.
Objects that joined at different times have memories of different length; they share a pass by
padding to the longest and masking the padding out of the attention.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from annotate.segment.base import Prediction
from annotate.segment.sam2.image import Embedding, Sam2Image, box_corners

# Bytes of memory tokens attended at a time on a CPU: beyond, attention waits for main memory. At
# full size an object has 7 MiB, and 16 of them in one pass took 9 % longer than one by one.
CPU_CACHE = 8 * 2**20


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The memory of a frame where the object was prompted."""

    time: int
    features: Tensor  # (m, s, s)
    pointer: Tensor  # (c,)


@dataclass(slots=True)
class _Moment:
    """The memory of one past frame, for the objects that were not prompted in it."""

    time: int
    rows: dict[int, int]  # object id -> row
    features: Tensor | None  # (k, m, s, s); None when too old for mask memory
    pointers: Tensor  # (k, c)


class MemoryBank:
    """What is remembered of each object of one video. Ids are the caller's; time only grows."""

    def __init__(self, model: Any, *, max_anchors: int) -> None:
        self._max_anchors = max_anchors
        self._mask_frames = model.num_maskmem - 1
        self._pointer_frames = model.max_obj_ptrs_in_encoder - 1
        self.anchors: dict[int, list[_Anchor]] = {}
        self.moments: deque[_Moment] = deque()

    def anchor(self, object_id: int, time: int, features: Tensor, pointer: Tensor) -> None:
        """Remember a prompted frame: the first one for good, and the newest ones."""
        kept = [a for a in self.anchors.get(object_id, []) if a.time != time]
        kept.append(_Anchor(time, features, pointer))
        if len(kept) > self._max_anchors:
            del kept[1 if self._max_anchors > 1 else 0]
        self.anchors[object_id] = kept

    def remember(self, time: int, ids: Sequence[int], features: Tensor, pointers: Tensor) -> None:
        """Remember a frame for objects that were not prompted in it, and forget what is too old."""
        self.moments.append(_Moment(time, {o: i for i, o in enumerate(ids)}, features, pointers))
        while self.moments[0].time <= time - self._pointer_frames:
            self.moments.popleft()
        for moment in self.moments:
            if moment.time <= time - self._mask_frames:
                moment.features = None

    def forget(self, object_id: int) -> None:
        """Drop an object that will not be asked for again."""
        self.anchors.pop(object_id, None)
        for moment in self.moments:
            moment.rows.pop(object_id, None)

    def forget_moments(self, object_id: int) -> None:
        """Drop all but the anchors: after a long absence the recent frames mislead."""
        for moment in self.moments:
            moment.rows.pop(object_id, None)


class Sam2Memory:
    """Seeds objects, carries them to the next frame, and remembers them in a MemoryBank."""

    state_classes = (_Anchor, _Moment)

    def __init__(self, image: Sam2Image) -> None:
        self.image = image
        self.model = image.model
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
        return {
            "anchors": bank.anchors,
            "moments": bank.moments,
            "position": self._memory_position,
        }

    def restore(self, bank: MemoryBank, state: dict[str, Any]) -> None:
        """Fill a bank with what `state` gave."""
        bank.anchors, bank.moments = state["anchors"], state["moments"]
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
        k = len(masks)
        _, _, ious, low_res, _, pointers, present = self.model._use_mask_as_output(
            embedding.features.float().expand(k, -1, -1, -1), self._high_res(embedding, k), masks
        )
        return Prediction(low_res[:, 0].float(), ious[:, 0].float(), present[:, 0], pointers)

    @torch.inference_mode()
    def seed_boxes(self, embedding: Embedding, boxes_k4: Tensor) -> Prediction:
        """Objects given as boxes (k, 4) xyxy px."""
        return self.seed_points(
            embedding,
            *box_corners(boxes_k4.to(self.image.device), embedding, self.model.image_size),
        )

    @torch.inference_mode()
    def seed_points(
        self, embedding: Embedding, points_kp2: Tensor, labels_kp: Tensor
    ) -> Prediction:
        """Objects given as points (k, p, 2) in model pixels, labelled as SAM does.

        SAM's prompt encoder takes the centre of the pixel that a point names, so it adds 0.5.
        """
        k = len(points_kp2)
        features = embedding.features + self.model.no_mem_embed.view(1, -1, 1, 1)
        prompt = {"point_coords": points_kp2, "point_labels": labels_kp}
        return self._heads(features.expand(k, -1, -1, -1), embedding, prompt, first=True)

    @torch.inference_mode()
    def carry(
        self, embedding: Embedding, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> Prediction:
        """Find the objects `ids` of the bank in the frame at `time`, in one pass."""
        features = self._recall(embedding, bank, ids, time)
        return self._heads(features, embedding, None, first=False)

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

    def _heads(
        self,
        features: Tensor,
        embedding: Embedding,
        prompt: dict[str, Tensor] | None,
        *,
        first: bool,
    ) -> Prediction:
        """Not under autocast: of a mask, and of whether there is one, the heads decide."""
        k = len(features)
        _, _, ious, low_res, _, pointers, present = self.model._forward_sam_heads(
            backbone_features=features.float(),
            point_inputs=prompt,
            high_res_features=self._high_res(embedding, k),
            multimask_output=self.model._use_multimask(first, prompt),
        )
        return Prediction(low_res[:, 0].float(), ious.float().amax(1), present[:, 0], pointers)

    @staticmethod
    def _high_res(embedding: Embedding, k: int) -> list[Tensor]:
        return [level.float().expand(k, -1, -1, -1) for level in embedding.high_res]

    def _recall(
        self, embedding: Embedding, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> Tensor:
        """The frame's features (k, c, s, s), conditioned on what the bank holds of each object."""
        memory, position, known, pointer_tokens = self._gather(bank, ids, time)
        tokens = embedding.features.flatten(2).transpose(1, 2)  # (1, n, c)
        place = embedding.position.flatten(2).transpose(1, 2)
        attention = self.model.memory_attention
        first, *others = attention.layers
        with self.image.autocast():
            out = tokens + 0.1 * place if attention.pos_enc_at_input else tokens
            # Every object sees the same frame, so the first self-attention is shared: there is
            # one row until the objects' memories set them apart.
            shared = first._forward_sa(out, place)
            groups = []
            for rows in self._in_cache(len(ids), memory):
                # A mask forces a slower kernel; without padding there is nothing to mask.
                real = known[rows]
                mask = None if bool(real.all()) else real[:, None, None, :]
                told = (memory[rows], position[rows], place, pointer_tokens, mask)
                out = _told(first, shared.expand(len(real), -1, -1), *told)
                for layer in others:
                    out = _told(layer, layer._forward_sa(out, place), *told)
                groups.append(attention.norm(out))
        whole = torch.cat(groups).transpose(1, 2)
        conditioned: Tensor = whole.reshape(len(ids), -1, *embedding.features.shape[-2:])
        return conditioned

    def _in_cache(self, objects: int, memory: Tensor) -> Iterator[slice]:
        """Rows to attend at a time: all of them on a GPU, what a CPU's cache can hold there."""
        at_once = objects
        if self.image.device.type == "cpu":
            per_object = memory[0].numel() * memory.element_size()
            at_once = max(1, CPU_CACHE // per_object)
        for start in range(0, objects, at_once):
            yield slice(start, start + at_once)

    def _gather(
        self, bank: MemoryBank, ids: Sequence[int], time: int
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Memory tokens (k, n, m), their positions, which are real, and how many are pointers."""
        model = self.model
        assert self._memory_position is not None
        k, s = len(ids), self._memory_position.shape[-1]
        slots: list[tuple[Tensor, Tensor, int]] = []  # features (k, m, s, s), known (k,), t_pos
        pointers: list[tuple[Tensor, Tensor, Tensor]] = []  # (k, c), known (k,), distance (k,)
        for slot in range(max(len(bank.anchors[o]) for o in ids)):
            held = [a[slot] if slot < len(a := bank.anchors[o]) else None for o in ids]
            some = next(a for a in held if a is not None)
            known = torch.tensor([a is not None for a in held], device=self.image.device)
            stack = torch.stack([(a or some).features for a in held])
            slots.append((stack, known, 0))
            distance = torch.tensor([float(time - (a or some).time) for a in held])
            pointers.append((torch.stack([(a or some).pointer for a in held]), known, distance))
        for moment in bank.moments:
            ago = time - moment.time
            rows = [moment.rows.get(o, -1) for o in ids]
            if max(rows) < 0:
                continue
            index = torch.tensor(rows, device=self.image.device)
            known, index = index >= 0, index.clamp(min=0)
            if moment.features is not None and ago < model.num_maskmem:
                slots.append((moment.features[index], known, model.num_maskmem - ago))
            if ago < model.max_obj_ptrs_in_encoder:
                distance = torch.full((k,), float(ago))
                pointers.append((moment.pointers[index], known, distance))
        spatial = [features.flatten(2).transpose(1, 2) for features, _, _ in slots]
        base = self._memory_position.flatten(1).T  # (s*s, m)
        times = model.maskmem_tpos_enc.view(model.num_maskmem, -1)
        # sam2 counts time backwards: index num_maskmem - 1 - t_pos, anchors have t_pos 0.
        places = [base + times[model.num_maskmem - t_pos - 1] for _, _, t_pos in slots]
        known_tokens = [known[:, None].expand(k, s * s) for _, known, _ in slots]
        pointer_tokens, pointer_places = self._pointer_tokens(pointers)
        split = pointer_tokens.shape[1] // len(pointers)
        known_tokens += [known[:, None].expand(k, split) for _, known, _ in pointers]
        memory = torch.cat([*spatial, pointer_tokens.to(spatial[0].dtype)], 1)
        position = torch.cat([torch.cat(places)[None].expand(k, -1, -1), pointer_places], 1)
        return memory, position, torch.cat(known_tokens, 1), pointer_tokens.shape[1]

    def _pointer_tokens(
        self, pointers: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Pointers as memory tokens (k, p * c/m, m) and the encoding of how long ago they were."""
        from sam2.modeling.sam2_utils import get_1d_sine_pe

        model = self.model
        values = torch.stack([p for p, _, _ in pointers], 1)  # (k, p, c)
        k, p, c = values.shape
        m = model.mem_dim
        tokens = values.reshape(k, p * (c // m), m)
        if not model.add_tpos_enc_to_obj_ptrs:
            return tokens, torch.zeros_like(tokens)
        distance = torch.stack([d for _, _, d in pointers], 1).to(values.device)  # (k, p)
        width = c if model.proj_tpos_enc_in_obj_ptrs else m
        ago = distance.flatten() / (model.max_obj_ptrs_in_encoder - 1)
        places = model.obj_ptr_tpos_proj(get_1d_sine_pe(ago, dim=width)).view(k, p, m)
        return tokens, places.repeat_interleave(c // m, dim=1)


def _told(
    layer: Any,
    out: Tensor,
    memory: Tensor,
    position: Tensor,
    place: Tensor,
    pointer_tokens: int,
    mask: Tensor | None,
) -> Tensor:
    """The rest of a layer after its self-attention, as in sam2's but with a mask of the keys."""
    from sam2.modeling.position_encoding import apply_rotary_enc

    attention = layer.cross_attn_image
    query = layer.norm2(out)
    q = attention.q_proj(query + place if layer.pos_enc_at_cross_attn_queries else query)
    k = attention.k_proj(memory + position if layer.pos_enc_at_cross_attn_keys else memory)
    v = attention.v_proj(memory)
    q, k, v = (attention._separate_heads(x, attention.num_heads) for x in (q, k, v))
    spatial = k.shape[2] - pointer_tokens
    cis = attention.freqs_cis.to(q.device)
    if cis.shape[0] != q.shape[2]:  # the yaml's feat_sizes need not be those of this image size
        side = round(q.shape[2] ** 0.5)
        cis = attention.compute_cis(end_x=side, end_y=side).to(q.device)
    q, rotated = apply_rotary_enc(
        q, k[:, :, :spatial], freqs_cis=cis, repeat_freqs_k=attention.rope_k_repeat
    )
    k = torch.cat([rotated, k[:, :, spatial:]], 2)
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = out + attention.out_proj(attention._recombine_heads(attended))
    told: Tensor = out + layer.linear2(layer.activation(layer.linear1(layer.norm3(out))))
    return told
