"""Who is who in a frame: which detection is which track, and what becomes of the rest.

All that decides identity in a frame, as functions of arrays: no torch, no models, no files. A row
of an array is one track or one detection, k of the ones and n of the others; masks are compared
on a common grid of p cells.
"""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from annotate.config.settings import TrackSettings
from annotate.track.tracks import Bools, Floats

Ints = npt.NDArray[np.integer]
Pairs = list[tuple[int, int]]

# A same-class pair wins over an other-class pair of somewhat higher IoU: detectors flicker between
# classes more seldom than masks of neighbours overlap.
CLASS_BONUS = 0.3
# Of the score of a detection: of two that fit a track about as well, the surer one.
SCORE_WEIGHT = 0.2
SAME_OBJECT_IOU = 0.7
PAIRS_AT_ONCE = 2048  # of masks that are compared, 16 MB
# What pairs are worth grows with this power of their quality, so that one good pair outweighs two
# that have less than 2 ** (-1 / 6) = 0.89 of its quality. Were the number of pairs to count, or the
# mere sum, one near-perfect pair would be given up for two poor ones, and two ids go astray.
STEEPNESS = 6


class Objects(NamedTuple):
    """Tracks or detections of one frame, as they are compared."""

    masks: Bools  # (k, p)
    class_ids: Ints  # (k,)

    def joined(self, others: Objects) -> Objects:
        """These and the others."""
        return Objects(
            np.concatenate([self.masks, others.masks]),
            np.concatenate([self.class_ids, others.class_ids]),
        )


class Missing(NamedTuple):
    """Tracks of one frame that no detection overlaps."""

    centres: Floats  # (k, 2) xy px, where they are expected
    sizes: Floats  # (k,) px, when last seen
    class_ids: Ints  # (k,)
    unseen: Ints  # (k,) frames since they were there
    drawn: Bools  # (k,) memory still draws them


class Duplicate(NamedTuple):
    """Two tracks that lie on one object, by their rows."""

    stays: int
    goes: int
    merged: bool  # one object under two ids; else `goes` is out of sight and has no mask here


def overlaps(masks: Bools, others: Bools) -> tuple[Floats, Floats]:
    """IoU and share of the smaller mask inside the other, (k, n), of masks (k, p) and (n, p)."""
    one, two = _in_words(masks), _in_words(others)
    both = _shared_pixels(one, two)
    areas, other_areas = (
        np.bitwise_count(words).sum(1, dtype=np.int64).astype(np.float32) for words in (one, two)
    )
    areas, other_areas = areas[:, None], other_areas[None]
    iou = both / np.maximum(areas + other_areas - both, 1)
    return iou, both / np.maximum(np.minimum(areas, other_areas), 1)


def _in_words(masks: Bools) -> npt.NDArray[np.uint64]:
    """Masks (k, p), 64 pixels in a word (k, ceil(p / 64))."""
    packed = np.packbits(masks, axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def _shared_pixels(one: npt.NDArray[np.uint64], two: npt.NDArray[np.uint64]) -> Floats:
    """Pixels (k, n) that masks have in common; of most pairs no word needs to be looked at."""
    both = np.zeros((len(one), len(two)), np.float32)
    near = (one != 0).astype(np.float32) @ (two != 0).astype(np.float32).T
    rows, columns = np.nonzero(near)
    for at in range(0, len(rows), PAIRS_AT_ONCE):
        some = slice(at, at + PAIRS_AT_ONCE)
        words = one[rows[some]] & two[columns[some]]
        both[rows[some], columns[some]] = np.bitwise_count(words).sum(1, dtype=np.int64)
    return both


def of_one_class(one: Objects, other: Objects) -> Bools:
    """Which objects are of one class, (k, n)."""
    return np.asarray(one.class_ids[:, None] == other.class_ids[None])


def pair(
    drawn: Objects,
    expected: Bools,
    unseen: Ints,
    found: Objects,
    scores: Floats,
    rules: TrackSettings,
) -> tuple[Pairs, Floats]:
    """Pairs (track, detection), and the IoU (k, n) of what memory draws with what was found.

    `drawn` are the k tracks as memory draws them, `expected` their masks (k, p) as motion has them,
    and `unseen` (k,) the frames without a sight of them; `scores` (n,) are of the detections.
    """
    iou, inside = overlaps(drawn.masks, found.masks)
    moved_iou, moved_inside = overlaps(expected, found.masks)
    pairs = assign(
        with_motion(iou, moved_iou, unseen, rules),
        with_motion(inside, moved_inside, unseen, rules),
        of_one_class(drawn, found),
        scores,
        rules,
    )
    return pairs, iou


def with_motion(overlap: Floats, expected: Floats, unseen: Ints, rules: TrackSettings) -> Floats:
    """Overlaps (k, n) of masks that memory draws, averaged with those of the expected masks.

    Memory knows looks, motion knows places: twins that cross are told apart by the latter. The
    longer a track is unseen, which `unseen` (k,) counts in frames, the less its motion says.
    """
    trust = rules.motion * 0.8 ** unseen[:, None]
    return (overlap + trust * expected) / (1 + trust)


def assign(
    iou: Floats, inside: Floats, same_class: Bools, scores: Floats, rules: TrackSettings
) -> Pairs:
    """Optimal one-to-one pairs (track, detection): overlaps (k, n) each, detection scores (n,).

    Optimal is the highest sum of quality ** STEEPNESS, with the quality of a pair its IoU plus
    CLASS_BONUS within a class plus SCORE_WEIGHT times the score; there may be fewer pairs than
    could be made. Within a class a pair is possible from `match_iou`, and also where one mask lies
    in the other: an object half hidden is found by a part of its mask. Across classes, which is a
    detector in doubt about the name, only from `SAME_OBJECT_IOU`.
    """
    mates = same_class & ((iou >= rules.match_iou) | ((inside >= rules.inside) & (iou > 0.1)))
    possible = mates | (iou >= max(rules.match_iou, SAME_OBJECT_IOU))
    quality = iou + CLASS_BONUS * same_class + SCORE_WEIGHT * scores
    return _best_pairs(np.where(possible, quality, 0))


def corrections(
    iou: Floats,
    quality: Floats,
    drawn_quality: Floats,
    sure: Bools,
    rules: TrackSettings,
    *,
    every: int,
) -> tuple[Bools, Bools]:
    """Of m pairs of track and detection: which tracks are anchored anew, which masks are replaced.

    `iou` (m,) is of memory's mask with the detection's, and the qualities (m,) are what the model
    thinks of the detection's mask and of memory's; `sure` (m,): the detection could give birth.
    """
    # Memory that carried a mask over many frames has drifted, whether it shows or not.
    drifted = sure & ((every > 1) | (iou < rules.drift_iou))
    return drifted, drifted | (quality >= drawn_quality)


def find_again(missing: Missing, boxes: Floats, class_ids: Ints, rules: TrackSettings) -> Pairs:
    """Pairs of missing tracks and free detections (n, 4) xyxy px near where these should be."""
    # The longer it was away, the less its old motion says.
    slack = 1 + missing.unseen / 10
    # One that memory still draws is let go of only for what is very near where it should be.
    slack[missing.drawn] /= 3
    found_sizes = sizes(boxes)
    larger = np.maximum(missing.sizes[:, None], found_sizes[None])
    ratio = larger / np.minimum(missing.sizes[:, None], found_sizes[None])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.linalg.norm(missing.centres[:, None] - centres[None], axis=2)
    mates = missing.class_ids[:, None] == class_ids[None]
    return reassign_lost(apart / (larger * slack[:, None]), ratio, mates, rules)


def reassign_lost(
    distance: Floats, size_ratio: Floats, same_class: Bools, rules: TrackSettings
) -> Pairs:
    """Optimal pairs (lost track, detection) by nearness, (k, n) each.

    `distance` is from where the track is expected, in object sizes; `size_ratio` >= 1 compares
    their sizes. Only a detection of the track's class can be its object.
    """
    possible = same_class & (distance <= rules.reach) & (size_ratio <= 2.5)
    quality = 1 + rules.reach - distance - 0.2 * np.log(np.maximum(size_ratio, 1))
    return _best_pairs(np.where(possible, quality, 0))


def sizes(boxes_xyxy: Floats) -> Floats:
    """Sides (k,) of the squares of the boxes' (k, 4) areas, px; at least one."""
    w, h = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    return np.asarray(np.maximum(np.sqrt(np.maximum(w * h, 0)), 1.0))


def strangers(found: Objects, held: Objects, taken: Set[int], rules: TrackSettings) -> list[int]:
    """Detections of what no track holds, each object once.

    The detections (n,) come the best first; `held` is what tracks hold, and `taken` the detections
    that are theirs.
    """
    known = np.asarray(_on_one_object(found, held, rules).any(1))
    twins = _on_one_object(found, found, rules)
    new: list[int] = []
    for row in range(len(known)):
        if row not in taken and not known[row] and not twins[row, new].any():
            new.append(row)
    return new


def continued(drawn: Objects, found: Objects, scores: Floats, rules: TrackSettings) -> Pairs:
    """Pairs of tracks that no memory follows, where they are expected, and detections."""
    iou, inside = overlaps(drawn.masks, found.masks)
    return assign(iou, inside, of_one_class(drawn, found), scores, rules)


def _on_one_object(one: Objects, other: Objects, rules: TrackSettings) -> Bools:
    """Which pairs (k, n) overlap as two masks of one object do."""
    iou, inside = overlaps(one.masks, other.masks)
    mates = of_one_class(one, other)
    return np.asarray((iou >= rules.match_iou) | (mates & (inside >= rules.inside)))


def duplicates(
    iou: Floats, matched: Bools, beside: Bools, mask_scores: Floats, rules: TrackSettings
) -> list[Duplicate]:
    """Which of the tracks in a frame, the eldest first, lie on an object that another one holds.

    Tracks that were ever detected side by side, `beside` (k, k), are two objects: the one that is
    not detected now is out of sight, and memory has put its mask on the other. Else they are one
    object under two ids, and the elder takes over. `iou` is (k, k); two tracks that are both
    `matched` (k,) with a detection now are left alone; `mask_scores` (k,) say whose mask is better.
    """
    found: list[Duplicate] = []
    gone: set[int] = set()
    for younger in range(1, len(iou)):
        for elder in range(younger):
            both = elder, younger
            if not gone.isdisjoint(both) or all(matched[i] for i in both):
                continue
            if iou[elder, younger] < rules.duplicate_iou:
                continue
            merged = not beside[elder, younger]
            goes = younger if merged else min(both, key=lambda i: (matched[i], mask_scores[i]))
            found.append(Duplicate(elder + younger - goes, goes, merged))
            gone.add(goes)
    return found


def clashes(iou: Floats, ids: Ints, other_ids: Ints, rules: TrackSettings) -> Bools:
    """Which of the tracks `ids` (k,) lie where another track is seen, (k,).

    `iou` (k, n) is of their masks with those of the tracks `other_ids` (n,), which may be the same.
    """
    another = ids[:, None] != other_ids[None]
    return np.asarray(((iou >= rules.match_iou) & another).any(1))


def _best_pairs(quality: Floats) -> Pairs:
    """The one-to-one pairs of the highest total worth; pairs of quality 0 cannot be.

    Worth is quality ** STEEPNESS; `quality` (k, n) is not negative.
    """
    worth = quality**STEEPNESS
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if worth[r, c] > 0]
