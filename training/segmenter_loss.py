"""The loss of guessed masks against the true ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from training.segmenter_prompts import SIDE, BoolArray


def mask_loss(
    logits_kmhw: Tensor, ious_km: Tensor, truth_khw: BoolArray, present_k: Tensor, *, side: int
) -> tuple[Tensor, Tensor]:
    """Loss over the present objects and the IoU of each object's best guess, on a grid of `side`.

    Of several guesses the best one learns most, so that they part ways instead of averaging.
    """
    size = (side, side)
    logits = F.interpolate(logits_kmhw, size=size, mode="bilinear").clamp(-60, 60)
    truth = F.avg_pool2d(torch.from_numpy(truth_khw)[:, None].float(), SIDE // side)
    unit = (side / 128) ** 2
    # The neighbourhood of the object weighs more, the smaller the object: else small ones vanish.
    weight = (3000 * unit / (truth.sum((2, 3), keepdim=True) + 500 * unit)).clamp(max=4)
    near = F.max_pool2d(F.max_pool2d(truth, side // 16), 3, 1, 1)
    weight = 0.3 + weight * F.interpolate(near, size=size)
    truth = truth.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    prob = logits.sigmoid()
    overlap, total = (prob * truth).sum((2, 3)), (prob + truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    with torch.no_grad():
        guess, solid = logits > 0, truth > 0.5
        iou = (guess & solid).sum((2, 3)) / (guess | solid).sum((2, 3)).clamp(min=1)
    each_km = 3 * (entropy * weight).mean((2, 3)) + dice
    best = each_km.argmin(1, keepdim=True)
    loss = each_km.gather(1, best)[:, 0]
    if each_km.shape[1] > 1:
        loss = loss + 0.2 * each_km.mean(1)
    loss = loss + 0.5 * (ious_km - iou).abs().mean(1)
    present = present_k.float()
    return (loss * present).sum() / present.sum().clamp(min=1), iou.gather(1, best)[:, 0]
