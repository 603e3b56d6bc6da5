"""Train the tiny SAM 2.1: `python -m training.segmenter --run training/runs/segmenter`.

The model is sam2's own SAM2Base, built from the yaml it ships with. Image steps teach boxes, points
and corrections; clip steps teach memory: the prompt is given on the first frame only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor, nn

from training.loop import command_line, prepare_torch, train
from training.segmenter_loss import mask_loss
from training.segmenter_model import YAML, build_model
from training.segmenter_prompts import (
    SIDE,
    box_prompts,
    certain,
    correction_prompts,
    first_prompt,
    point_prompts,
)
from training.segmenter_scenes import ClipBatch, draw_clips, draw_images

# From which progress on: share of clip steps, clips and frames of each. Pictures first: they alone
# train the encoder, which memory rests on. Short clips teach faster; long ones fill the memory
# (7 frames, 16 pointers) as whole clips will, and show the model its own drift.
_CLIP_STAGES: Final = ((0.0, 0.25, 4, 7), (0.1, 0.65, 4, 7), (0.5, 0.65, 3, 12))
_CORRECTION_ODDS: Final = 0.25
# A frame without the object weighs this much in its score: there are few, and without it the model
# learns to call everything seen.
_GONE_WEIGHT: Final = 3.0
_VISIBLE_AREA: Final = 30  # between none and this much, an object counts as neither seen nor gone
_FEATURE_PENALTY: Final = 0.003


class SegmenterTask:
    """Image and clip steps in random order; from scratch, memory is fed true masks at first."""

    def __init__(self, init: Path | None = None) -> None:
        self._model = build_model(init)
        # A fresh model's guesses are worth nothing as memories for the first half of its training.
        self._teacher = 0.5 if init is None else 0.0

    @property
    def model(self) -> nn.Module:
        return self._model  # type: ignore[no-any-return]

    def loss(self, rng: Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        _, share, clips, frames = [s for s in _CLIP_STAGES if s[0] <= progress][-1]
        if rng.random() < share:
            teacher = max(0.0, 1 - progress / self._teacher) if self._teacher else 0.0
            batch = draw_clips(rng, clips=clips, frames=frames)
            return self._clip_loss(rng, batch, teacher)
        return self._image_loss(rng)

    def export(self, state: dict[str, Tensor], folder: Path) -> None:
        """Write what sam2 loads: the state under the key "model", and the yaml beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"model": state}, folder / "sam2.1_tiny.pt")
        (folder / YAML.name).write_text(YAML.read_text())

    def _image_loss(self, rng: Generator) -> tuple[Tensor, dict[str, float]]:
        pixels, masks_khw, image_of_k = draw_images(rng)
        model = self._model
        _, features, _, sizes = model._prepare_backbone_features(model.forward_image(pixels))
        fine = [
            f.permute(1, 2, 0).unflatten(2, s)[image_of_k]
            for f, s in zip(features[:-1], sizes[:-1], strict=True)
        ]
        coarse = (features[-1] + model.no_mem_embed).permute(1, 2, 0).unflatten(2, sizes[-1])
        with_box = rng.random() < 0.65
        prompts = box_prompts(rng, masks_khw) if with_box else point_prompts(rng, masks_khw)
        # Stride-16 features grow until they drown the positions of the prompts; keep them small.
        loss = _FEATURE_PENALTY * features[-1].pow(2).mean()
        present = torch.ones(len(masks_khw))
        previous, first_iou = None, float("nan")
        for round_ in range(2 if rng.random() < _CORRECTION_ODDS else 1):
            points = (prompts.points_kp2, prompts.labels_kp)
            encoder = model.sam_prompt_encoder
            sparse, dense = encoder(points=points, boxes=None, masks=previous)
            logits, ious, _, seen = model.sam_mask_decoder.predict_masks(
                image_embeddings=coarse[image_of_k],
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                repeat_image=False,
                high_res_features=fine,
            )
            single, iou = mask_loss(logits[:, :1], ious[:, :1], masks_khw, present, side=128)
            several, _ = mask_loss(logits[:, 1:], ious[:, 1:], masks_khw, present, side=128)
            score = F.binary_cross_entropy_with_logits(seen[:, 0], present)
            loss = loss + single + 0.5 * several + 0.1 * score
            previous = logits[:, :1].detach().clamp(-32, 32)
            if round_ == 0:
                first_iou = float(iou.mean())
                guess = F.interpolate(previous, size=(SIDE, SIDE), mode="bilinear")[:, 0] > 0
                prompts = prompts.plus(correction_prompts(rng, guess.numpy(), masks_khw))
        return loss, {"iou_box" if with_box else "iou_point": first_iou}

    def _clip_loss(
        self, rng: Generator, batch: ClipBatch, teacher: float
    ) -> tuple[Tensor, dict[str, float]]:
        model, frames = self._model, len(batch.times)
        features, positions, sizes = self._frozen_features(batch.pixels)
        mask_input, point_input = first_prompt(rng, batch.masks_tkhw[0])
        memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        clips = len(batch.pixels) // frames
        loss, ious, right, wrong = torch.zeros(()), [], [], []
        for t, time in enumerate(batch.times):
            rows = batch.clip_of_k + t * clips
            seen_features = [f[:, rows] for f in features]
            truth_khw = batch.masks_tkhw[t]
            current, heads, _, _ = model._track_step(
                time,
                t == 0,
                seen_features,
                [p[:, rows] for p in positions],
                sizes,
                point_input if t == 0 else None,
                mask_input if t == 0 else None,
                memory,
                64,  # frames of the clip, more than the furthest pointer
                False,
                None,
            )
            logits, _, iou_guess, _, guess, current["obj_ptr"], score = heads
            if t < frames - 1:
                guess, score_memory = guess.detach(), score.detach()
                if rng.random() < teacher:
                    present = truth_khw.any(axis=(1, 2), keepdims=True)[:, 0]
                    guess, score_memory = certain(truth_khw)[:, None], certain(present)
                has_points = point_input is not None and t == 0
                model._encode_memory_in_output(
                    seen_features, sizes, has_points or None, True, guess, score_memory, current
                )
            memory["cond_frame_outputs" if t == 0 else "non_cond_frame_outputs"][time] = current
            if t == 0 and mask_input is not None:
                continue  # the given mask is the output: nothing to learn
            area = torch.from_numpy(truth_khw.sum(axis=(1, 2)))
            present, sure = area > 0, (area == 0) | (area >= _VISIBLE_AREA)
            claimed = score[:, 0] > 0
            # An unclaimed object's logits are a constant without gradient.
            of_mask, iou = mask_loss(logits, iou_guess, truth_khw, present & claimed, side=64)
            weight = sure * torch.where(present, 1.0, _GONE_WEIGHT)
            of_score = F.binary_cross_entropy_with_logits(
                score[:, 0], present.float(), weight=weight, reduction="sum"
            ) / weight.sum().clamp(min=1)
            loss = loss + of_mask + of_score
            if t:
                ious += (iou * claimed)[area >= _VISIBLE_AREA].tolist()
                right += claimed[sure & present].tolist()
                wrong += claimed[~present].tolist()
        report = {"clip_iou": ious, "seen": right, "seen_though_gone": wrong}
        return loss / (frames - 1), {
            name: float(np.mean(values)) if values else float("nan")
            for name, values in report.items()
        }

    def _frozen_features(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor], Any]:
        """Image features without gradient: image steps train the encoder at a tenth of the cost."""
        model = self._model
        with torch.no_grad():
            out = model.image_encoder(pixels)
        levels = out["backbone_fpn"]
        levels[0] = model.sam_mask_decoder.conv_s0(levels[0])
        levels[1] = model.sam_mask_decoder.conv_s1(levels[1])
        _, features, positions, sizes = model._prepare_backbone_features(out)
        return features, positions, sizes


def main() -> None:
    options = command_line(__doc__ or "", lr=1.5e-3, lr_end=2e-5).parse_args()
    prepare_torch(options.threads)
    train(SegmenterTask(options.init), options)


if __name__ == "__main__":
    main()
