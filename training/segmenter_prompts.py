"""Masks at the size the model sees, and prompts drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

SIDE: Final = 256  # sam2 squashes every picture to a square of this side
_CERTAIN: Final = 10.0  # logit of a mask that is given and not guessed
BoolArray = NDArray[np.bool_]


def squash(mask: BoolArray) -> BoolArray:
    """A mask at the size the model sees."""
    if mask.shape == (SIDE, SIDE):
        return mask
    grey = cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(grey > 127)


def certain(mask: BoolArray) -> Tensor:
    return (torch.from_numpy(mask).float() * 2 - 1) * _CERTAIN


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Points as sam2 takes them; a box is two points labelled 2 and 3."""

    points_kp2: Tensor
    labels_kp: Tensor  # int32

    def plus(self, other: Prompts) -> Prompts:
        return Prompts(
            torch.cat([self.points_kp2, other.points_kp2], 1),
            torch.cat([self.labels_kp, other.labels_kp], 1),
        )

    def as_sam2(self) -> dict[str, Tensor]:
        return {"point_coords": self.points_kp2, "point_labels": self.labels_kp}


def box_prompts(rng: Generator, masks_khw: BoolArray) -> Prompts:
    """Boxes of the masks, all exact or all shaken by up to 5 or 10 % of their sides."""
    noise = rng.choice([0, 0.05, 0.1])
    boxes = []
    for mask in masks_khw:
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        sides = np.tile(box[2:] - box[:2], 2)
        boxes.append((box + rng.uniform(-noise, noise, 4) * sides).clip(0, SIDE))
    points = torch.from_numpy(np.stack(boxes).astype(np.float32)).reshape(-1, 2, 2)
    return Prompts(points, torch.tensor([[2, 3]], dtype=torch.int32).repeat(len(boxes), 1))


def point_prompts(rng: Generator, masks_khw: BoolArray) -> Prompts:
    """One positive click anywhere on each mask."""
    points = torch.stack([_click(rng, mask) for mask in masks_khw])[:, None]
    return Prompts(points, torch.ones(len(points), 1, dtype=torch.int32))


def correction_prompts(rng: Generator, guess_khw: BoolArray, truth_khw: BoolArray) -> Prompts:
    """One click on the larger error: positive on what is missed, negative on what is too much."""
    points, labels = [], []
    for guess, truth in zip(guess_khw, truth_khw, strict=True):
        missed, excess = truth & ~guess, guess & ~truth
        positive = missed.sum() >= excess.sum()
        where = missed if positive else excess
        points.append(_click(rng, where if where.any() else truth))
        labels.append(int(positive))
    return Prompts(torch.stack(points)[:, None], torch.tensor(labels, dtype=torch.int32)[:, None])


def _click(rng: Generator, mask: BoolArray) -> Tensor:
    rows, columns = np.nonzero(mask)
    index = int(rng.integers(len(rows)))
    return torch.tensor([float(columns[index]), float(rows[index])])


def first_prompt(
    rng: Generator, masks_khw: BoolArray
) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """The prompt of a clip: mask, or box or point, as `_track_step` takes them."""
    choice = rng.random()
    if choice < 0.5:
        return torch.from_numpy(masks_khw)[:, None].float(), None
    make = box_prompts if choice < 0.85 else point_prompts
    return None, make(rng, masks_khw).as_sam2()
