"""What Florence-2 writes of places: `car<loc_52><loc_333><loc_932><loc_774>`, or outlines.

Locations are thousandths of the picture's width and height, in turn; four of them are a box, and
those between `<poly>` and `</poly>` an outline, whose parts `<sep>` divides.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

BINS = 1000
_TOKEN = re.compile(r"<loc_(\d{1,4})>|(<poly>)|(</poly>)|<sep>|[^<]+|<")


def boxes_in(reply: str, size_hw: tuple[int, int]) -> tuple[npt.NDArray[np.float32], int]:
    """Boxes (m, 4) xyxy px in the order in which they stand, and how many are not whole.

    Each bin stands for its middle. Words between places are what the phrase was: they tell nothing.
    """
    boxes: list[list[int]] = []
    broken = 0
    run: list[int] = []  # locations that stand together
    in_outline = False

    def close() -> int:
        nonlocal run
        some, run = run, []
        if in_outline:
            if len(some) < 6:
                return int(bool(some))
            xs, ys = some[: len(some) // 2 * 2 : 2], some[1::2]
            boxes.append([min(xs), min(ys), max(xs), max(ys)])
            return 0
        for at in range(0, len(some) - 3, 4):
            x0, y0, x1, y1 = some[at : at + 4]
            boxes.append([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])
        return int(len(some) % 4 > 0)

    for token in _TOKEN.finditer(reply):
        if token[1]:
            run.append(min(int(token[1]), BINS - 1))
        elif token[0] == "<sep>" and in_outline:
            continue  # a further part of the same object
        else:
            broken += close()
            in_outline = bool(token[2]) or (in_outline and not token[3])
    broken += close()
    h, w = size_hw
    shares = (np.array(boxes, float).reshape(-1, 4) + 0.5) / BINS
    return (shares * [w, h, w, h]).astype(np.float32), broken
