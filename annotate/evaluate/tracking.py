"""How well tracks agree with the truth: HOTA, IDF1, identity switches and J.

TrackEval computes the published metrics on arrays; the similarity of two objects
is the IoU of their masks, or boxes.
HOTA, DetA, AssA: arXiv 2009.07736. IDF1: arXiv 1609.01775. IDSW: CLEAR MOT (Bernardin and
Stiefelhagen, 2008). J: region similarity of DAVIS, truth and tracks paired one to one as in its
unsupervised protocol (arXiv 1905.00737).

Everything is class-aware: masks of two classes have similarity 0, so a prediction matches truth of
its own class or nothing. Counts are then pooled over classes, which is what TrackEval calls
detection-averaged: a class weighs as much as it has objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from annotate.data.types import Rle
from annotate.errors import ConfigError

MATCH_IOU = 0.5
"""From here on two masks are one object, for IDF1, identity switches and shared ids."""


class Tracked(Protocol):
    """What is compared: objects of one kind, with masks or with boxes."""

    @property
    def track_id(self) -> int: ...
    @property
    def class_id(self) -> int: ...
    @property
    def shape(self) -> Any:
        """As pycocotools compares it."""


@dataclass(frozen=True, slots=True)
class TrackedMask:
    """One object in one frame, and no more than that."""

    track_id: int
    class_id: int
    mask: Rle

    @property
    def shape(self) -> Any:
        """See Tracked."""
        return self.mask.coco


@dataclass(frozen=True, slots=True)
class TrackedBox:
    """One object in one frame, known by its box alone."""

    track_id: int
    class_id: int
    box_xywh: tuple[float, ...]  # px

    @property
    def shape(self) -> Any:
        """See Tracked."""
        return list(self.box_xywh)


def xywh(box_xyxy: Sequence[float]) -> tuple[float, ...]:
    """A box as corner and size, px."""
    x0, y0, x1, y1 = box_xyxy
    return x0, y0, x1 - x0, y1 - y0


@dataclass(frozen=True, slots=True)
class VideoCounts:
    """What one video adds to the scores of a set."""

    hota: dict[str, Any]  # TrackEval's own results
    identity: dict[str, Any]
    clear: dict[str, Any]
    iou_sum: float  # of every truth mask with the track paired to its object
    truth_masks: int
    repeated_ids: int
    shared_ids: int


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Scores of a set of videos: shares 0..1, and counts."""

    hota: float  # mean over the IoU thresholds 0.05 to 0.95, as are the next two
    det_a: float
    ass_a: float
    idf1: float
    id_switches: int
    j: float  # mean IoU over the truth's masks, each with the track paired to its object
    repeated_ids: int  # predicted ids that are on two masks of one frame at least once
    shared_ids: int  # predicted ids that match masks of two truth objects or more


def score_tracks(
    videos: Iterable[Iterable[tuple[Sequence[Tracked], Sequence[Tracked]]]],
) -> TrackingScores:
    """Scores of a set of videos, each given frame by frame as (truth, found)."""
    return combine([count_video(frames) for frames in videos])


def count_video(frames: Iterable[tuple[Sequence[Tracked], Sequence[Tracked]]]) -> VideoCounts:
    """Compare one video, given frame by frame as (truth, found); masks are let go as it passes.

    A track id stands for one object of the video and is on one mask of a frame. Truth that breaks
    this raises ValueError; a second mask found under the same id is judged as another track.
    """
    truth_rows: dict[int, int] = {}
    found_rows: dict[tuple[int, int], int] = {}  # (track id, how often the frame had it before)
    truth_ids: list[npt.NDArray[np.intp]] = []
    found_ids: list[npt.NDArray[np.intp]] = []
    ious: list[npt.NDArray[np.float64]] = []
    for truth, found in frames:
        truth_keys = [o.track_id for o in truth]
        if len(set(truth_keys)) < len(truth_keys):
            raise ValueError(f"frame {len(ious)}: truth has a track id twice: {sorted(truth_keys)}")
        truth_ids.append(_rows(truth_rows, truth_keys))
        found_ids.append(_rows(found_rows, _numbered(found)))
        ious.append(_ious(truth, found))
    data = {
        "gt_ids": truth_ids,
        "tracker_ids": found_ids,
        "similarity_scores": ious,
        "num_gt_ids": len(truth_rows),
        "num_tracker_ids": len(found_rows),
        "num_gt_dets": sum(map(len, truth_ids)),
        "num_tracker_dets": sum(map(len, found_ids)),
        "num_timesteps": len(ious),
    }
    hota, identity, clear = _metrics()
    shape = len(truth_rows), len(found_rows)
    return VideoCounts(
        hota=hota.eval_sequence(data),
        identity=identity.eval_sequence(data),
        clear=clear.eval_sequence(data),
        iou_sum=_best_pairing(shape, truth_ids, found_ids, ious),
        truth_masks=sum(map(len, truth_ids)),
        repeated_ids=len({track_id for track_id, before in found_rows if before}),
        shared_ids=_shared(shape, truth_ids, found_ids, ious),
    )


def combine(videos: Sequence[VideoCounts]) -> TrackingScores:
    """Scores of a set of videos, combined as TrackEval combines sequences: counts are added up."""
    hota, identity, clear = _metrics()
    by_name = dict(enumerate(videos))
    combined = hota.combine_sequences({k: v.hota for k, v in by_name.items()})
    return TrackingScores(
        hota=float(np.mean(combined["HOTA"])),
        det_a=float(np.mean(combined["DetA"])),
        ass_a=float(np.mean(combined["AssA"])),
        idf1=float(identity.combine_sequences({k: v.identity for k, v in by_name.items()})["IDF1"]),
        id_switches=int(clear.combine_sequences({k: v.clear for k, v in by_name.items()})["IDSW"]),
        j=sum(v.iou_sum for v in videos) / max(1, sum(v.truth_masks for v in videos)),
        repeated_ids=sum(v.repeated_ids for v in videos),
        shared_ids=sum(v.shared_ids for v in videos),
    )


def _metrics() -> tuple[Any, Any, Any]:
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise ConfigError(
            "scores of tracks need TrackEval: pip install 'annotate[eval]'"
        ) from error
    options = {"THRESHOLD": MATCH_IOU, "PRINT_CONFIG": False}
    return HOTA(), Identity(options), CLEAR(options)


def _rows(known: dict[Any, int], keys: Sequence[Any]) -> npt.NDArray[np.intp]:
    """The row of each key; a new key takes the next one."""
    return np.array([known.setdefault(key, len(known)) for key in keys], np.intp)


def _numbered(found: Sequence[Tracked]) -> list[tuple[int, int]]:
    """Track ids of one frame, each with how often it came before in the frame."""
    seen: Counter[int] = Counter()
    keys = []
    for o in found:
        keys.append((o.track_id, seen[o.track_id]))
        seen[o.track_id] += 1
    return keys


def _ious(truth: Sequence[Tracked], found: Sequence[Tracked]) -> npt.NDArray[np.float64]:
    """IoU (truth, found) of what is in one frame; 0 across classes."""
    if not truth or not found:
        return np.zeros((len(truth), len(found)))
    known, other = ([o.shape for o in side] for side in (truth, found))
    ious = np.asarray(coco_mask.iou(other, known, [0] * len(known))).T
    same_class = np.array([o.class_id for o in truth])[:, None] == [o.class_id for o in found]
    return np.where(same_class, ious, 0.0)


def _best_pairing(
    shape: tuple[int, int],
    truth_ids: Sequence[npt.NDArray[np.intp]],
    found_ids: Sequence[npt.NDArray[np.intp]],
    ious: Sequence[npt.NDArray[np.float64]],
) -> float:
    """The IoU that truth objects and tracks collect when paired one to one in the best way.

    An object without a track, and a frame in which its track is missing, collect nothing.
    """
    from scipy.optimize import linear_sum_assignment

    collected = np.zeros(shape)
    for rows, columns, iou in zip(truth_ids, found_ids, ious, strict=True):
        collected[rows[:, None], columns] += iou
    return float(collected[linear_sum_assignment(collected, maximize=True)].sum())


def _shared(
    shape: tuple[int, int],
    truth_ids: Sequence[npt.NDArray[np.intp]],
    found_ids: Sequence[npt.NDArray[np.intp]],
    ious: Sequence[npt.NDArray[np.float64]],
) -> int:
    """Tracks that match two truth objects or more."""
    matched = np.zeros(shape, bool)
    for rows, columns, iou in zip(truth_ids, found_ids, ious, strict=True):
        matched[rows[:, None], columns] |= iou >= MATCH_IOU
    return int((matched.sum(0) > 1).sum())
