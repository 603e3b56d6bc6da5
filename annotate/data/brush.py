"""Brushes of Label Studio: masks as the run lengths of `@thi.ng/rle-pack`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from annotate.data import geometry
from annotate.data.types import Rle

WORD_BITS = 8  # of a value
LENGTH_BITS = (3, 4, 8, 16)  # that the length of a run may take
OPAQUE = 255
CHANNELS = 4  # a brush is a picture RGBA


def packed(mask: Rle) -> list[int]:
    """The bytes 0..255 of a mask.

    A head of 32 bits with the number of values, 5 with the bits of one less 1, and four times 4
    with the bits of a length less 1. Then for each run a bit that it is one, 2 for which of these
    lengths it has, the length less 1, and its value. Values are of a picture RGBA, row by row.
    """
    h, w = mask.size_hw
    lengths, values = _runs(mask)
    most = 1 << LENGTH_BITS[-1]
    pieces = -(-lengths // most)
    values = np.repeat(values, pieces)
    ends = np.cumsum(pieces)
    last = lengths - (pieces - 1) * most
    lengths = np.full(len(values), most)
    lengths[ends - 1] = last
    kind = np.searchsorted(1 << np.array(LENGTH_BITS), lengths)
    wide = np.array(LENGTH_BITS)[kind]
    # Each run as one number, its first bit highest.
    text = (1 << 2 | kind).astype(np.uint64) << wide.astype(np.uint64)
    text = (text | (lengths - 1).astype(np.uint64)) << np.uint64(WORD_BITS) | values.astype(
        np.uint64
    )
    bits = 3 + wide + WORD_BITS
    places = np.arange(3 + LENGTH_BITS[-1] + WORD_BITS)[None]
    shift = (bits[:, None] - 1 - places).clip(0)
    unpacked = (text[:, None] >> shift.astype(np.uint64) & np.uint64(1)).astype(np.uint8)
    body = unpacked[places < bits[:, None]]
    head = f"{h * w * CHANNELS:032b}{WORD_BITS - 1:05b}" + "".join(
        f"{n - 1:04b}" for n in LENGTH_BITS
    )
    whole = np.packbits(np.concatenate([np.array(list(head), np.uint8), body]))
    return whole.tolist()


def _runs(mask: Rle) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lengths and values of the runs of the picture RGBA that a brush is, row by row."""
    h, w = mask.size_hw
    x, y, bw, bh = (int(v) for v in cast(Any, coco_mask.toBbox(mask.coco)))
    part = geometry.decode_crop(mask.counts, mask.size_hw, (x, y, x + bw, y + bh))
    framed = np.zeros((bh, bw + 2), np.int8)
    framed[:, 1:-1] = part
    edges = np.flatnonzero(np.diff(framed.ravel()))
    row, column = np.divmod(edges, bw + 2)
    at = (row + y) * w + column + x
    bounds = np.concatenate([[0], at, [h * w]])
    lengths = np.diff(bounds)
    values = np.arange(len(lengths)) % 2 * OPAQUE
    filled = lengths > 0
    return lengths[filled] * CHANNELS, values[filled]


def opaque(content: list[int], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (h, w) of a brush: where it is not transparent. ValueError: of another size."""
    h, w = size_hw
    if h * w > geometry.MOST_PIXELS:
        raise ValueError(f"no picture is {w}x{h}")
    values = unpacked(np.array(content, np.uint8), h * w * CHANNELS)
    mask: npt.NDArray[np.bool_] = values.reshape(h, w, CHANNELS)[..., CHANNELS - 1] > 0
    return mask


def unpacked(content: npt.NDArray[np.uint8], expected: int) -> npt.NDArray[np.uint8]:
    """The values of run lengths as Label Studio packs them. ValueError: of another number."""
    bits = np.unpackbits(content)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise ValueError("run lengths that end too soon")
        chunk = bits[at : at + count]
        at += count
        return int("".join(map(str, chunk.tolist())) or "0", 2)

    total, value_bits = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    if total != expected:
        raise ValueError(f"a brush of {total} values, expected {expected}")
    parts, filled = [], 0
    while filled < total:
        is_run, width = take(1), widths[take(2)]
        length = take(width) + 1
        if is_run:
            part = np.full(length, take(value_bits) & 255, np.uint8)
        else:
            part = np.array([take(value_bits) & 255 for _ in range(length)], np.uint8)
        parts.append(part)
        filled += length
    return np.concatenate(parts)[:total] if parts else np.zeros(0, np.uint8)
