"""What detector and memory say of one frame: tensors of the models, and arrays to compare.

Masks of one frame are compared on a grid of GRID x GRID cells, whatever the size of the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from annotate.data.geometry import mask_boxes
from annotate.data.types import Detections, Origin, Rle
from annotate.models.memory_limit import MemoryLimit
from annotate.models.transfer import indices, to_host
from annotate.segment.base import Embedding, Prediction
from annotate.segment.video import VideoSegmenter
from annotate.track.matching import Objects
from annotate.track.sightings import Seen, Sighting
from annotate.track.tracks import Bools, Floats

GRID = 256  # side of the grid on which masks are compared, px
ROWS = 256  # masks brought to it at a time, 64 MB
SURE_LOGIT = 10.0  # of what a mask that came with a detection holds


@dataclass(frozen=True, slots=True)
class Found:
    """The n detections of a key frame that have a mask, the best first."""

    scores: Floats  # (n,)
    class_ids: npt.NDArray[np.int32]  # (n,)
    phrases: list[str]
    margins: Floats  # (n,) score above that of the best other class there
    boxes: Tensor  # (n, 4) xyxy px, the detector's
    logits: Sequence[Tensor]  # n of (s, s), in main memory
    on_device: Tensor  # (n, s, s), the same where the models are
    ious: Floats  # (n,) the segmenter's estimate
    masks: Bools  # (n, GRID * GRID)
    mask_boxes: Floats  # (n, 4) xyxy px, of the masks
    given: tuple[Rle | None, ...]  # (n,) masks that came with the detections
    agreements: Floats | None  # (n,) share of several grounders that found each

    @property
    def are_given(self) -> Bools:
        """Which of them, (n,), came with a mask."""
        return np.array([mask is not None for mask in self.given], bool)

    @property
    def objects(self) -> Objects:
        """As they are compared with tracks."""
        return Objects(self.masks, self.class_ids)

    def sighting(self, row: int, track_id: int, logits: Tensor, mask_score: float) -> Sighting:
        """A track as one of the detections shows it, with the mask `logits` (s, s).

        A mask that came with the detection is the track's as it is.
        """
        box = self.boxes[row].numpy()
        agreement = None if self.agreements is None else float(self.agreements[row])
        seen = Seen(int(self.class_ids[row]), box, float(self.margins[row]), agreement)
        return Sighting(track_id, logits, mask_score, "detected", seen, self.given[row])


@dataclass(frozen=True, slots=True)
class Carried:
    """Where memory draws k tracks in a frame."""

    ids: list[int]  # of the tracks
    said: Prediction  # where the models are
    logits: Sequence[Tensor]  # k of (s, s), in main memory
    ious: Floats  # (k,) the model's estimate
    masks: Bools  # (k, GRID * GRID), empty where it takes the object for absent
    boxes: Floats  # (k, 4) xyxy px, of the masks
    drawn: bool = True  # by memory; else masks are where motion leads, and only to be compared with

    @property
    def shown(self) -> Bools:
        """Which of the tracks are drawn at all, (k,)."""
        return np.asarray(self.masks.any(1) & self.drawn)

    def sighting(self, row: int, origin: Origin) -> Sighting:
        """A track as memory draws it."""
        return Sighting(self.ids[row], self.logits[row], float(self.ious[row]), origin)


def segment(
    memory: VideoSegmenter, embedding: Any, detections: Detections, size_hw: tuple[int, int]
) -> Found:
    """As `segment_all`, of one frame."""
    (found,) = segment_all(memory, [embedding], [detections], [size_hw])
    return found


def segment_all(
    memory: VideoSegmenter,
    embeddings: Sequence[Any],
    detections: Sequence[Detections],
    sizes_hw: Sequence[tuple[int, int]],
) -> list[Found]:
    """The masks of the detections of frames; those that come out empty are left out.

    Frames share passes. A mask that a detection came with stands in for the segmenter's.
    """
    some = [n for n, of_frame in enumerate(detections) if len(of_frame)]
    made: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    if some:
        boxes = [torch.from_numpy(detections[n].boxes_xyxy) for n in some]
        decoded = memory.decode_all([embeddings[n] for n in some], boxes)
        on_device, ious = zip(*decoded, strict=True)
        host = to_host(*on_device, *ious)
        halves = host[: len(some)], host[len(some) :]
        made = dict(zip(some, zip(on_device, *halves, strict=True), strict=True))
    nothing = torch.zeros(0, 1, 1), torch.zeros(0, 1, 1), torch.zeros(0)
    return [
        _found(of_frame, *made.get(n, nothing), size_hw)
        for n, (of_frame, size_hw) in enumerate(zip(detections, sizes_hw, strict=True))
    ]


def _found(
    detections: Detections,
    on_device: Tensor,
    logits: Tensor,
    ious: Tensor,
    size_hw: tuple[int, int],
) -> Found:
    """Of one frame; logits (k, s, s) on the device and in main memory, and estimates (k,)."""
    boxes = torch.from_numpy(detections.boxes_xyxy)
    given = detections.masks or (None,) * len(detections)
    if any(mask is not None for mask in given):
        logits, ious = logits.clone(), ious.clone()
        for row, mask in enumerate(given):
            if mask is not None:
                logits[row], ious[row] = as_logits(mask, logits), 1
        on_device = logits.to(on_device.device)
    masks, edges = on_grid(logits, size_hw)
    rows = np.flatnonzero(masks.any(1))
    if len(rows) < len(logits):
        boxes, logits, ious, on_device = (t[rows] for t in (boxes, logits, ious, on_device))
    return Found(
        scores=detections.scores[rows],
        class_ids=detections.class_ids[rows],
        phrases=[detections.phrases[r] for r in rows],
        margins=detections.margins[rows],
        boxes=boxes,
        logits=logits.unbind(),
        on_device=on_device,
        ious=ious.numpy(),
        masks=masks[rows],
        mask_boxes=edges[rows],
        given=tuple(given[r] for r in rows),
        agreements=None if detections.agreements is None else detections.agreements[rows],
    )


def as_logits(mask: Rle, like_kss: Tensor) -> Tensor:
    """A mask as low-resolution logits (s, s), as `like_kss` (k, s, s) are.

    One too small to fill half a cell is where it fills most of one.
    """
    pixels = torch.from_numpy(mask.decode()).to(like_kss)
    shares = functional.interpolate(pixels[None, None], like_kss.shape[-2:], mode="area")[0, 0]
    return (shares - shares.max().div(2).clamp(max=0.5)) * (2 * SURE_LOGIT)


def carry(
    memory: VideoSegmenter, embedding: Embedding, bank: Any, ids: Sequence[int], time: int
) -> Carried:
    """Where memory draws the tracks `ids` of the bank at `time`; there may be none."""
    if ids:
        said = memory.carry(embedding, bank, ids, time)
    else:
        said = Prediction(torch.zeros(0, 1, 1), torch.zeros(0), torch.zeros(0), torch.zeros(0, 1))
    logits, ious, present = to_host(said.logits, said.ious, said.present)
    masks, boxes = on_grid(logits, embedding.size_hw)
    masks &= (present > 0).numpy()[:, None]
    return Carried(list(ids), said, logits.unbind(), ious.numpy(), masks, boxes)


def expected(ids: Sequence[int], masks: Bools, size_hw: tuple[int, int]) -> Carried:
    """Tracks where motion leads them, masks (k, GRID, GRID), as no memory draws them."""
    k = len(ids)
    nothing = Prediction(torch.zeros(k, 1, 1), torch.zeros(k), torch.zeros(k), torch.zeros(k, 1))
    boxes = mask_boxes(masks) * grid_px(size_hw)
    return Carried(
        list(ids),
        nothing,
        nothing.logits.unbind(),
        np.zeros(k),
        masks.reshape(k, GRID * GRID),
        boxes,
        drawn=False,
    )


def of_rows(said: Prediction, rows: Iterable[int]) -> Prediction:
    """What is said of some of the objects."""
    chosen = tuple(rows)
    if chosen == tuple(range(len(said))):
        return said
    index = indices(chosen, said.logits.device)
    fields = (said.logits, said.ious, said.present, said.pointers)
    return Prediction(*(of_all.index_select(0, index) for of_all in fields))


def on_grid(logits_kss: Tensor, size_hw: tuple[int, int]) -> tuple[Bools, Floats]:
    """Low-resolution logits to masks (k, GRID * GRID), and their boxes (k, 4) in frame pixels.

    Logits are in main memory. Raises MemoryError when one alone is too much.
    """
    if not len(logits_kss):
        return np.zeros((0, GRID * GRID), bool), np.zeros((0, 4))

    def grown(rows: Sequence[int]) -> Bools:
        some = logits_kss[rows[0] : rows[-1] + 1]
        if some.shape[1:] != (GRID, GRID):  # as those of full-size models are
            some = functional.interpolate(some[:, None].float(), (GRID, GRID), mode="bilinear")
            some = some[:, 0]
        return np.asarray((some > 0).numpy())

    passes = MemoryLimit("masks to compare").slices(range(len(logits_kss)), grown, most=ROWS)
    masks = np.concatenate(list(passes))
    return masks.reshape(len(masks), -1), mask_boxes(masks) * grid_px(size_hw)


def grid_px(size_hw: tuple[int, int]) -> Floats:
    """Frame pixels (4,) of one cell of the grid, for x, y, x and y."""
    h, w = size_hw
    return np.array([w, h, w, h]) / GRID


def square(mask: Bools) -> Bools:
    """One mask of the grid as (GRID, GRID)."""
    return mask.reshape(GRID, GRID)
