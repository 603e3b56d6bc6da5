"""Boxes to masks: cleaned, cut to frame size, and never out of step with their classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import chain, groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annotate.config.settings import SegmentSettings
from annotate.data import geometry
from annotate.data.types import Detections, Frame, Instance, Rle
from annotate.models.memory_limit import MemoryLimit
from annotate.models.transfer import to_host
from annotate.segment.base import Segmenter
from annotate.segment.upsampling import crops

BOXES = 128  # of several pictures in one pass: each has its picture's finest features, 12 MB


class Refiner(ABC):
    """Makes instances of the detections of stills."""

    @abstractmethod
    def begin_all(
        self, frames: Sequence[Frame], found: Sequence[Detections]
    ) -> list[Callable[[], tuple[Instance, ...]]]:
        """What gives each frame's instances in the order of its detections, empty masks left out.

        Models are done when it returns: what is left needs none, and any thread may do it.
        """

    def refine(self, frame: Frame, found: Detections) -> tuple[Instance, ...]:
        """The instances of one frame."""
        (finish,) = self.begin_all([frame], [found])
        return finish()


class Masker(Refiner):
    """A segmenter with what is made of its logits."""

    def __init__(
        self, segmenter: Segmenter, settings: SegmentSettings, *, at_once: MemoryLimit | None = None
    ) -> None:
        """`at_once` limits the boxes that the segmenter sees together."""
        self._segmenter = segmenter
        self._settings = settings
        self._at_once = at_once or MemoryLimit("boxes")
        self._pictures, self._masks = MemoryLimit("pictures"), MemoryLimit("masks")

    def begin_all(
        self, frames: Sequence[Frame], found: Sequence[Detections]
    ) -> list[Callable[[], tuple[Instance, ...]]]:
        """See Refiner. Frames share passes of the segmenter.

        `instance_id` counts the detections, so it does not depend on which masks came out empty.
        Raises MemoryError when one picture, box or, later, mask alone is too much.
        """
        asked = [_without_mask(some) for some in found]
        models = [n for n, rows in enumerate(asked) if rows and not self._segmenter.boxes_only]
        made = dict(zip(models, self._decoded(models, frames, found, asked), strict=True))
        return [
            partial(self._finish, frame.frame_id, frame.size_hw, some, rows, made.get(n))
            for n, (frame, some, rows) in enumerate(zip(frames, found, asked, strict=True))
        ]

    def _finish(self, *told: Any) -> tuple[Instance, ...]:
        return tuple(self._instances(*told))

    def _decoded(
        self,
        which: Sequence[int],
        frames: Sequence[Frame],
        found: Sequence[Detections],
        asked: Sequence[list[int]],
    ) -> list[tuple[Tensor, Tensor]]:
        """Logits (k, a, b) and estimates (k,) of the boxes asked for in some frames."""
        if not which:
            return []
        embeddings: list[Any] = []
        for _, same in groupby(which, key=lambda n: frames[n].size_hw):

            def embed(some: Sequence[int]) -> list[Any]:
                return self._segmenter.embed([frames[n].image for n in some])

            embeddings += chain.from_iterable(self._pictures.slices(list(same), embed))
        boxes = [torch.from_numpy(found[n].boxes_xyxy[asked[n]]) for n in which]
        made = decode_all(self._segmenter, embeddings, boxes, self._at_once)
        logits, ious = zip(*made, strict=True)
        host = to_host(*logits, *ious)
        return list(zip(host[: len(made)], host[len(made) :], strict=True))

    def _instances(
        self,
        frame_id: str,
        size_hw: tuple[int, int],
        found: Detections,
        asked: list[int],
        made: tuple[Tensor, Tensor] | None,
    ) -> Iterator[Instance]:
        """A mask that the grounder found is taken as it is, with the estimate 1."""
        estimates = np.ones(len(found), np.float32)
        cuts: Iterator[tuple[int, Cut]] = iter(())
        if made is not None:
            estimates[asked] = made[1].numpy()
            cuts = cut_masks(made[0], size_hw, self._settings, self._masks)
        elif asked:
            cuts = cut_boxes(found.boxes_xyxy[asked], size_hw)
        own = ((asked[n], cut) for n, cut in cuts)
        given = cut_given(found.masks or ())
        for row, cut in merge(own, given, key=lambda found: found[0]):
            yield Instance(
                instance_id=f"{frame_id}:{row}",
                class_id=int(found.class_ids[row]),
                phrase=found.phrases[row],
                score=float(found.scores[row]),
                box_xyxy=cut.box_xyxy,
                mask=cut.mask,
                area=cut.area,
                mask_score=float(estimates[row]),
                margin=float(found.margins[row]),
                box_iou=cut.iou_with(found.boxes_xyxy[row]),
                agreement=None if found.agreements is None else float(found.agreements[row]),
            )


def _without_mask(found: Detections) -> list[int]:
    """The rows of detections that came without a mask."""
    if found.masks is None:
        return list(range(len(found)))
    return [row for row, mask in enumerate(found.masks) if mask is None]


def decode(
    segmenter: Segmenter, embedding: Any, boxes_k4: Tensor, at_once: MemoryLimit
) -> tuple[Tensor, Tensor]:
    """Mask logits (k, a, b) and IoU estimates (k,) of boxes (k >= 1, 4), some at a time.

    Raises MemoryError when one box alone is too much.
    """
    (made,) = decode_all(segmenter, [embedding], [boxes_k4], at_once)
    return made


def decode_all(
    segmenter: Segmenter,
    embeddings: Sequence[Any],
    boxes: Sequence[Tensor],
    at_once: MemoryLimit,
) -> list[tuple[Tensor, Tensor]]:
    """As `decode`, of several pictures with the boxes (k >= 1, 4) of each; they share passes."""
    each = [(n, row) for n, some_boxes in enumerate(boxes) for row in range(len(some_boxes))]
    logits: list[list[Tensor]] = [[] for _ in boxes]
    ious: list[list[Tensor]] = [[] for _ in boxes]

    def work(part: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[Tensor, Tensor]]]:
        rows = {n: [row for _, row in group] for n, group in groupby(part, key=lambda at: at[0])}
        made = segmenter.decode_all(
            [embeddings[n] for n in rows], [boxes[n][some(own)] for n, own in rows.items()]
        )
        return list(zip(rows, made, strict=True))

    most = None if len(boxes) == 1 else BOXES
    for n, made in chain.from_iterable(at_once.slices(each, work, most=most)):
        logits[n].append(made[0])
        ious[n].append(made[1])
    return [(joined(a), joined(b)) for a, b in zip(logits, ious, strict=True)]


def some(rows: Sequence[int]) -> slice:
    """Rows that follow each other, as a slice: an index would have to be sent to a device."""
    return slice(rows[0], rows[-1] + 1)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Parts as one; a single one stays what it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@dataclass(frozen=True, slots=True)
class Cut:
    """A finished mask with what follows from it."""

    mask: Rle
    box_xyxy: tuple[float, float, float, float]
    area: int

    def iou_with(self, box_xyxy: npt.NDArray[np.float32]) -> float:
        """Of the mask's box with another one (4,), px."""
        return geometry.box_iou(self.box_xyxy, box_xyxy.tolist())


def cut_boxes(
    boxes_xyxy: Iterable[npt.NDArray[np.float32]], size_hw: tuple[int, int]
) -> Iterator[tuple[int, Cut]]:
    """Boxes px as masks, by their rows; the box of each stays as it is, to the last digit."""
    for row, box in enumerate(boxes_xyxy):
        x0, y0, x1, y1 = (float(v) for v in box)
        counts, area = geometry.encode_box((x0, y0, x1, y1), size_hw)
        yield row, Cut(Rle(counts, size_hw), (x0, y0, x1, y1), area)


def cut_given(masks: Iterable[Rle | None]) -> Iterator[tuple[int, Cut]]:
    """Masks that are there already, by their rows, empty ones left out."""
    for row, mask in enumerate(masks):
        if mask is not None and (pixels := mask.decode()).any():
            (box,) = geometry.mask_boxes(pixels[None])
            yield row, Cut(mask, tuple(box.tolist()), int(pixels.sum()))


def cut_masks(
    logits_kss: Tensor,
    size_hw: tuple[int, int],
    settings: SegmentSettings,
    at_once: MemoryLimit | None = None,
) -> Iterator[tuple[int, Cut]]:
    """Low-resolution logits (k, s, s) to (row, cleaned mask at frame size), empty ones left out.

    Of a mask no more exists at full size than its object's box, one at a time; logits come to main
    memory as many as `max_pixels` and memory, which `at_once` knows, allow. Raises MemoryError when
    one mask alone is too much.
    """

    def cut(rows: Sequence[int]) -> list[tuple[int, Cut]]:
        return list(_cut(logits_kss, rows, size_hw, settings))

    side = max(1, logits_kss.shape[1] * logits_kss.shape[2])
    passes = (at_once or MemoryLimit("masks")).slices(
        range(len(logits_kss)), cut, most=max(1, settings.max_pixels // side)
    )
    return chain.from_iterable(passes)


def _cut(
    logits_kss: Tensor, rows: Sequence[int], size_hw: tuple[int, int], settings: SegmentSettings
) -> Iterator[tuple[int, Cut]]:
    for row, crop in zip(rows, crops(logits_kss, rows, size_hw), strict=True):
        mask, (x, y) = crop.mask, crop.corner_xy
        if not crop.is_clean:
            geometry.clean_mask(mask, settings.speck_share, settings.hole_share)
        if not mask.any():
            continue
        (box,) = geometry.mask_boxes(mask[None])
        x0, y0, x1, y1 = (int(v) for v in box)
        tight = mask[y0:y1, x0:x1]
        whole = geometry.encode_crop(tight, (x + x0, y + y0), size_hw)
        edges = float(x + x0), float(y + y0), float(x + x1), float(y + y1)
        yield row, Cut(Rle(whole, size_hw), edges, int(np.count_nonzero(tight)))
