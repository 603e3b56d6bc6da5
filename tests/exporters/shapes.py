"""Masks of every kind: parts, holes, borders, lines, single pixels."""

from __future__ import annotations

import cv2
import numpy as np

H, W = 120, 160
YY, XX = np.mgrid[:H, :W]


def disk(x: float, y: float, r: float) -> np.ndarray:
    return (XX - x) ** 2 + (YY - y) ** 2 < r**2


def lines(thickness: int) -> np.ndarray:
    image = np.zeros((H, W), np.uint8)
    cv2.line(image, (5, 5), (150, 110), 1, thickness)
    cv2.line(image, (150, 5), (5, 60), 1, thickness)
    return image > 0


def spiral() -> np.ndarray:
    turn = np.linspace(0, 20, 2000)
    x, y = 80 + 2.5 * turn * np.cos(turn), 60 + 2.5 * turn * np.sin(turn)
    image = np.zeros((H, W), np.uint8)
    cv2.polylines(image, [np.stack([x, y], 1).astype(np.int32)], False, 1, 3)
    return image > 0


def some(*spots: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    for x, y in spots:
        mask[y, x] = True
    return mask


SHAPES = {
    "one pixel": some((7, 9)),
    "corner pixel": some((W - 1, H - 1)),
    "two pixels by a corner": some((7, 9), (8, 10)),
    "two pixels apart": some((7, 9), (100, 90)),
    "full frame": np.ones((H, W), bool),
    "disk": disk(80, 60, 40),
    "disk over the border": disk(0, 0, 50),
    "donut": disk(80, 60, 50) & ~disk(85, 65, 20),
    "donut at the border": disk(30, 30, 31) & ~disk(20, 20, 12),
    "frame with a hole": ~disk(80, 60, 20),
    "three parts": disk(20, 20, 12) | disk(120, 30, 18) | disk(70, 100, 15),
    "island in a hole": (disk(80, 60, 55) & ~disk(80, 60, 30)) | disk(80, 60, 10),
    "holes above each other": disk(80, 60, 55)
    & ~disk(80, 25, 9)
    & ~disk(80, 50, 9)
    & ~disk(84, 80, 12),
    "thin part beside a large one": disk(100, 60, 40) | (XX == 5),
    "row": YY == 17,
    "checkerboard": ((XX + YY) % 2 == 0) & (XX < 40) & (YY < 40),
    "coarse checkerboard": (XX // 8 + YY // 8) % 2 == 0,
    "grid of holes": ~((XX % 4 == 1) & (YY % 4 == 1)),
    "thin lines": lines(1),
    "thick lines": lines(5),
    "spiral": spiral(),
}
