"""Boxes, masks and run lengths on numpy arrays: no torch, no files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Boxes = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

MOST_PIXELS = 1 << 29  # of a frame that is read back; a mask of it takes as many bytes
AT_ONCE_BYTES = 1 << 20  # of run lengths that are looked at together


def encode_masks(masks_nhw: Masks) -> list[str]:
    """Bool masks (n, h, w) to COCO compressed RLE counts, one ASCII string each."""
    if len(masks_nhw) == 0:
        return []
    # pycocotools reads column-major (h, w, n), which a C-ordered (n, w, h) copy is when transposed.
    by_column = np.ascontiguousarray(masks_nhw.transpose(0, 2, 1)).view(np.uint8)
    rles = coco_mask.encode(by_column.transpose(2, 1, 0))
    return [rle["counts"].decode("ascii") for rle in rles]


def encode_box(box_xyxy: Sequence[float], size_hw: tuple[int, int]) -> tuple[str, int]:
    """COCO compressed RLE counts, and the area, of the pixels whose centres lie in a box.

    A box that has no centre of a pixel in it has the pixel that its own centre lies in.
    """
    h, w = size_hw
    x0, x1 = _pixels(box_xyxy[0], box_xyxy[2], w)
    y0, y1 = _pixels(box_xyxy[1], box_xyxy[3], h)
    high, wide = y1 - y0, x1 - x0
    runs = [x0 * h + y0, *([high, h - high] * wide)]
    runs[-1] = h * w - sum(runs[:-1])
    rle = coco_mask.frPyObjects({"counts": runs, "size": [h, w]}, h, w)
    return rle["counts"].decode("ascii"), high * wide


def are_filled(
    boxes_xyxy: npt.NDArray[np.float64],
    areas: npt.NDArray[np.int64],
    sizes_hw: npt.NDArray[np.int64],
) -> bool:
    """Whether masks of these areas (n,) may all be their boxes (n, 4), as `encode_box` fills them.

    `sizes_hw` (n, 2) are of their pictures, px.
    """
    first = np.maximum(np.ceil(boxes_xyxy[:, :2] - 0.5), 0)
    last = np.minimum(np.ceil(boxes_xyxy[:, 2:] - 0.5), sizes_hw[:, ::-1])
    filled = np.maximum(last - first, 1).prod(1)
    return bool((filled == areas).all())


def _pixels(start: float, end: float, size: int) -> tuple[int, int]:
    """Along one axis of so many pixels, those whose centres lie from start to end, half-open."""
    first, last = max(math.ceil(start - 0.5), 0), min(math.ceil(end - 0.5), size)
    if first < last:
        return first, last
    middle = min(max(math.floor((start + end) / 2), 0), size - 1)
    return middle, middle + 1


def decode_masks(counts: Sequence[str], size_hw: tuple[int, int]) -> Masks:
    """COCO compressed RLE counts of one frame to bool masks (n, h, w)."""
    if not counts:
        return np.zeros((0, *size_hw), bool)
    rles = [{"counts": c.encode("ascii"), "size": list(size_hw)} for c in counts]
    masks: npt.NDArray[np.uint8] = coco_mask.decode(rles)
    return masks.transpose(2, 0, 1).astype(bool)


def areas(counts: Sequence[str], pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The area of each mask in px; -1 where the run lengths are none of a frame of so many pixels.

    Array operations over many masks at a time, whatever they hold.
    """
    sizes = np.cumsum([len(c) for c in counts])
    cuts = np.flatnonzero(np.diff(sizes // AT_ONCE_BYTES, prepend=0))
    edges = [0, *(int(c) for c in cuts if c), len(counts)]
    parts = [_areas(counts[a:b], pixels[a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _areas(counts: Sequence[str], pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    found = np.full(len(counts), -1, np.int64)
    texts = [c if c.isascii() else "" for c in counts]
    sizes = np.array([len(t) for t in texts], np.int64)
    digits = np.frombuffer("".join(texts).encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)  # the last digit of each number
    last = np.cumsum(sizes) - 1
    whole = (sizes > 0) & np.isin(last, ends)  # else its last number runs into the next mask
    if not whole.all():
        if whole.any():
            found[whole] = _areas(
                [t for t, w in zip(texts, whole, strict=True) if w], pixels[whole]
            )
        return found
    if not len(digits):
        return found
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    mask_of = np.searchsorted(last, ends)
    place = np.minimum(np.arange(len(digits)) - np.repeat(starts, lengths), 12)
    numbers = np.add.reduceat((digits & 31) << 5 * place, starts)
    numbers -= np.where(digits[ends] & 16, 1 << 5 * np.minimum(lengths, 12), 0)
    first = np.searchsorted(mask_of, np.arange(len(counts)))  # each mask's first number
    order = np.arange(len(numbers)) - first[mask_of]
    right = np.bincount(mask_of, (digits[ends] > 63) | (lengths > 7), len(counts)) == 0
    right &= np.bincount(mask_of, np.add.reduceat((digits < 0) | (digits > 63), starts)) == 0
    runs = numbers.copy()
    for parity in (0, 1):  # from the fourth on, each is the difference to the one before last
        chain = np.flatnonzero((order % 2 == parity) & (order > 0))
        summed = np.cumsum(numbers[chain])
        begins = np.flatnonzero(np.diff(mask_of[chain], prepend=-1))
        before = np.concatenate([[0], summed])[begins]
        runs[chain] = summed - np.repeat(before, np.diff(begins, append=len(chain)))
    right &= np.bincount(mask_of, runs < 0, len(counts)) == 0
    total = np.add.reduceat(runs, first)
    inside = np.add.reduceat(np.where(order % 2 == 1, runs, 0), first)
    right &= total == pixels
    return np.where(right, inside, -1)


def run_lengths(counts: str) -> npt.NDArray[np.int64]:
    """COCO compressed RLE counts to the lengths of the runs, background first."""
    digits = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(digits):
        return digits
    ends = np.flatnonzero(digits & 32 == 0)  # the last digit of each number
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    place = np.arange(len(digits)) - np.repeat(starts, sizes)
    runs = np.add.reduceat((digits & 31) << 5 * place, starts)
    runs -= np.where(digits[ends] & 16, 1 << 5 * sizes, 0)
    # From the fourth number on, each is the difference to the one before last.
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs


def wrong_run_lengths(counts: str, size_hw: tuple[int, int], *, open_end: bool = False) -> str:
    """What is wrong with COCO compressed RLE counts of a frame; "" where they fill it exactly.

    With `open_end` what follows the last run may be missing.

    To be asked before pycocotools is given what others wrote: it follows run lengths beyond their
    frame, without end.
    """
    if not counts.isascii() or not all("0" <= c < "p" for c in set(counts)):
        return "run lengths hold a character that stands for none"
    digits = np.frombuffer(counts.encode("ascii"), np.uint8) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    longest = np.diff(ends, prepend=-1).max(initial=0)
    whole = len(digits) == 0 or (len(ends) > 0 and ends[-1] == len(digits) - 1)
    if not whole or longest > 7:  # of 5 bits each
        return "run lengths end within a number"
    runs = run_lengths(counts)
    if len(runs) and runs.min() < 0:
        return "run lengths hold one below 0"
    missing = size_hw[0] * size_hw[1] - runs.sum()
    if missing < 0 or (missing and not open_end):
        return f"run lengths sum to {runs.sum()} px, not {size_hw[0]} x {size_hw[1]}"
    return ""


def decode_crop(
    counts: str, size_hw: tuple[int, int], box_xyxy: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """The part of a mask inside a box of whole pixels, as bool (y1 - y0, x1 - x0).

    What lies outside is never decoded: of small objects on large pictures this is most of it.
    """
    height = size_hw[0]
    x0, y0, x1, y1 = (int(v) for v in box_xyxy)
    first, last = x0 * height, x1 * height
    runs = run_lengths(counts)
    edges = np.clip(np.cumsum(runs), first, last)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, np.diff(edges, prepend=first))
    columns = np.zeros(last - first, bool)
    columns[: len(inside)] = inside
    return columns.reshape(x1 - x0, height).T[y0:y1]


def placed(
    counts: str, size_hw: tuple[int, int], corner_xy: tuple[int, int], frame_hw: tuple[int, int]
) -> str:
    """Run lengths of a part of a frame as those of the frame; `corner_xy` is where it begins, px.

    No picture is made of either: it costs what the mask has of runs.
    """
    h, (x, y), height = size_hw[0], corner_xy, frame_hw[0]
    edges = np.cumsum(run_lengths(counts))
    starts, ends = edges[0:-1:2], edges[1::2]
    starts, ends = starts[: len(ends)][ends > starts], ends[ends > starts]
    first, last = starts // h, (ends - 1) // h  # columns; a run may go on in the next ones
    spans = last - first + 1
    run = np.repeat(np.arange(len(starts)), spans)
    column = np.arange(len(run)) - np.repeat(np.cumsum(spans) - spans, spans) + first[run]
    top = np.maximum(starts[run], column * h) - column * h
    bottom = np.minimum(ends[run], (column + 1) * h) - column * h
    base = (column + x) * height + y
    return _packed(base + top, base + bottom, frame_hw)


def encode_crop(
    mask_hw: npt.NDArray[np.bool_], corner_xy: tuple[int, int], frame_hw: tuple[int, int]
) -> str:
    """COCO compressed RLE counts of a frame, of which a part (h, w) from a corner on is this mask.

    It costs what the part has of pixels, whatever the frame has.
    """
    h, (x, y), height = mask_hw.shape[0], corner_xy, frame_hw[0]
    # Column by column with a pixel of nothing before and after, so that no run leaves its column.
    framed = np.zeros((mask_hw.shape[1], h + 2), np.int8)
    framed[:, 1:-1] = mask_hw.T
    edges = np.flatnonzero(np.diff(framed.ravel()))
    column, row = np.divmod(edges, h + 2)
    at = (column + x) * height + row + y
    return _packed(at[::2], at[1::2], frame_hw)


def _packed(
    begins: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], frame_hw: tuple[int, int]
) -> str:
    """Runs of a frame, half-open and rising, as COCO compressed RLE counts."""
    height, width = frame_hw
    joined = np.flatnonzero(begins[1:] == stops[:-1])  # where a part is as high as the frame
    begins, stops = np.delete(begins, joined + 1), np.delete(stops, joined)
    bounds = np.concatenate([[0], np.stack([begins, stops], 1).reshape(-1), [height * width]])
    lengths = np.diff(bounds)
    if lengths[-1] == 0:
        lengths = lengths[:-1]
    plain = {"size": [height, width], "counts": lengths.tolist()}
    packed = coco_mask.frPyObjects(plain, height, width)["counts"]
    text: str = packed.decode("ascii")
    return text


def box_iou(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes xyxy; 0 where both are empty."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = box, other
    width, height = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    shared = max(0.0, width) * max(0.0, height)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    return shared / union if union > 0 else 0.0


def mask_boxes(masks_nhw: Masks) -> Boxes:
    """Tight half-open boxes (n, 4) xyxy of bool masks (n, h, w); an empty mask gives zeros."""
    n, h, w = masks_nhw.shape
    if n == 0:
        return np.zeros((0, 4), np.float32)
    rows, columns = np.asarray(masks_nhw.any(axis=2)), np.asarray(masks_nhw.any(axis=1))
    edges = (
        columns.argmax(1),
        rows.argmax(1),
        w - columns[:, ::-1].argmax(1),
        h - rows[:, ::-1].argmax(1),
    )
    filled = np.asarray(rows.any(axis=1))
    return np.asarray(np.stack(edges, axis=1) * filled[:, None], np.float32)


def clean_mask(mask_hw: npt.NDArray[np.bool_], speck_share: float, hole_share: float) -> None:
    """Remove specks and fill pin-holes of one bool mask (h, w) in place.

    A detached part is a speck, and a hole a pin-hole, when its area is below the given share of the
    mask's area; the largest part always stays. Parts touch by 8 neighbours, holes by 4.
    """
    rows, cols = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    if not len(rows):
        return
    crop = mask_hw[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    area = int(crop.sum())
    if area == crop.size:
        return
    _, labels, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
    sizes = stats[:, cv2.CC_STAT_AREA]
    sizes[0] = area  # the background is no speck
    specks = sizes < speck_share * area
    specks[1 + sizes[1:].argmax()] = False
    if specks.any():
        crop[specks[labels]] = False
    # A border of background joins all that is open to the outside into one region.
    outside = np.pad(~crop, 1, constant_values=True).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    if count > 2:
        pins = stats[:, cv2.CC_STAT_AREA] < hole_share * area
        pins[[0, labels[0, 0]]] = False
        crop[pins[labels[1:-1, 1:-1]]] = True
