"""Who is who in a video: assignment of detections to tracks and the life of a track. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from annotate.data.checks import in_range, one_of
from annotate.track.tracks import Bools, Floats, Track

Pairs = list[tuple[int, int]]

PROMPTS = ("mask", "box", "point")
# A same-class pair wins over an other-class pair of somewhat higher IoU: detectors flicker between
# classes more seldom than masks of neighbours overlap.
CLASS_BONUS = 0.3
SAME_OBJECT_IOU = 0.7


@dataclass(frozen=True, slots=True)
class TrackRules:
    """When detections and tracks are the same object; see conf/track/."""

    prompt: str  # how SAM 2 is told of a new object: mask | box | point
    birth_score: float  # detector score from which an unknown object becomes a track, 0..1
    match_iou: float  # mask IoU from which a detection is the track's object, 0..1
    inside: float  # share of the smaller mask in the larger from which a same-class pair matches
    motion: float  # weight of where motion leads against where memory looks
    drift_iou: float  # below this IoU to its sure detection a track is anchored anew, 0..1
    duplicate_iou: float  # two tracks that overlap more are one object, 0..1
    max_gap: int  # frames an unseen object is waited for
    max_misses: int  # key frames in a row without a detection until a track is taken for gone
    min_hits: int  # detections a track needs to be kept, as far as it had key frames
    reach: float  # how far from where it is expected a lost object may return, object sizes
    cut: float  # mean colour change that ends a scene, 0..1

    def at_rhythm(self, every: int) -> TrackRules:
        """The rules where only every n-th frame has detections to count."""
        return replace(
            self,
            max_misses=max(1, round(self.max_misses / every)),
            min_hits=max(1, round(self.min_hits / every)),
        )

    def __post_init__(self) -> None:
        one_of("track.prompt", self.prompt, PROMPTS)
        for share in ("birth_score", "match_iou", "inside", "drift_iou", "duplicate_iou", "cut"):
            in_range(f"track.{share}", getattr(self, share), 0, 1)
        in_range("track.motion", self.motion, 0)
        in_range("track.max_gap", self.max_gap, 0)
        in_range("track.max_misses", self.max_misses, 1)
        in_range("track.min_hits", self.min_hits, 1)
        in_range("track.reach", self.reach, 0)


def overlaps(masks: Bools, others: Bools) -> tuple[Floats, Floats]:
    """IoU and share of the smaller mask inside the other, (k, n), of masks (k, p) and (n, p)."""
    one, two = masks.astype(np.float32), others.astype(np.float32)
    both = one @ two.T
    areas, other_areas = one.sum(1)[:, None], two.sum(1)[None]
    iou = both / np.maximum(areas + other_areas - both, 1)
    return iou, both / np.maximum(np.minimum(areas, other_areas), 1)


def assign(
    iou: Floats, inside: Floats, same_class: Bools, scores: Floats, rules: TrackRules
) -> Pairs:
    """Optimal one-to-one pairs (track, detection): overlaps (k, n) each, detection scores (n,).

    Within a class a pair is possible from `match_iou`, and also where one mask lies in the other:
    an object half hidden is found by a part of its mask. Across classes, which is a detector in
    doubt about the name, only from `SAME_OBJECT_IOU`.
    """
    mates = same_class & ((iou >= rules.match_iou) | ((inside >= rules.inside) & (iou > 0.1)))
    possible = mates | (iou >= max(rules.match_iou, SAME_OBJECT_IOU))
    return _best_pairs(np.where(possible, 1 + iou + CLASS_BONUS * same_class + scores, 0))


def reassign_lost(
    distance: Floats, size_ratio: Floats, same_class: Bools, rules: TrackRules
) -> Pairs:
    """Optimal pairs (lost track, detection) by nearness, (k, n) each.

    `distance` is from where the track is expected, in object sizes; `size_ratio` >= 1 compares
    their sizes. Only a detection of the track's class can be its object.
    """
    possible = same_class & (distance <= rules.reach) & (size_ratio <= 2.5)
    worth = 1 + rules.reach - distance - 0.2 * np.log(np.maximum(size_ratio, 1))
    return _best_pairs(np.where(possible, worth, 0))


def is_cut(thumbnail: Floats, before: Floats | None, threshold: float) -> bool:
    """Whether a scene ends between two thumbnails (h, w, 3) in 0..1."""
    return before is not None and float(np.abs(thumbnail - before).mean()) > threshold


def _best_pairs(worth: Floats) -> Pairs:
    """The one-to-one pairs of the highest total worth; pairs of worth 0 do not count."""
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if worth[r, c] > 0]


def keep(track: Track, rules: TrackRules) -> bool:
    """Whether a finished track had the detections that its key frames allowed."""
    return track.hits >= min(rules.min_hits, max(track.key_frames, 1))
