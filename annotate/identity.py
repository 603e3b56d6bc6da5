"""Who is who in a video: assignment of detections to tracks and the life of a track. Numpy only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from annotate.checks import in_range, one_of

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
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


@dataclass(slots=True)
class Track:
    """One object of one video, from its birth on; `track_id` is never given to another."""

    track_id: int
    last_seen: int  # frames since the video began, as are all times here
    placed: int  # when `box` was so
    key_frames: int = 0  # in its life while it was followed
    misses: int = 0  # key frames in a row without a detection
    missed_since: int = 0  # first of them
    lost: bool = False  # taken for gone, but waited for
    votes: Counter[tuple[int, str]] = field(default_factory=Counter)  # (class, phrase) -> scores
    hits: int = 0  # detections
    sure_hits: int = 0  # those that could have given birth
    sure_sum: float = 0.0  # of their scores
    box: Floats = field(default_factory=lambda: np.zeros(4))  # xyxy px, when last seen
    mask: Bools = field(default_factory=lambda: np.zeros((0, 0), bool))  # (g, g), when last seen
    velocity: Floats = field(default_factory=lambda: np.zeros(2))  # px per frame
    hidden: list[tuple[int, int]] = field(default_factory=list)  # frames (first, last) taken back
    beside: set[int] = field(default_factory=set)  # tracks detected in one frame with it
    merged_into: int | None = None

    @property
    def class_id(self) -> int:
        """The class with the highest sum of scores; the lower id wins a tie."""
        sums: Counter[int] = Counter()
        for (class_id, _), score in self.votes.items():
            sums[class_id] += score
        return min(sums, key=lambda c: (-sums[c], c))

    @property
    def phrase(self) -> str:
        """The phrase that found it best under its class."""
        own = {phrase: s for (c, phrase), s in self.votes.items() if c == self.class_id}
        return min(own, key=lambda p: (-own[p], p))

    @property
    def score(self) -> float:
        """Mean score of its sure detections: weak ones confirm a track, they do not weaken it."""
        return self.sure_sum / self.sure_hits

    def see(self, frame: int, box_xyxy: Floats, mask: Bools) -> None:
        """The object is at `box_xyxy` in `frame`, `mask` (g, g) on the grid of comparison."""
        elapsed = frame - self.placed
        if elapsed > 0:
            step = (centre(box_xyxy) - centre(self.box)) / elapsed
            self.velocity = step if self.hits <= 1 else 0.6 * self.velocity + 0.4 * step
        self.box, self.mask, self.placed, self.last_seen = box_xyxy, mask, frame, frame

    def hit(self, class_id: int, phrase: str, score: float, *, sure: bool) -> None:
        """The detector found it in a key frame."""
        self.votes[class_id, phrase] += score  # type: ignore[assignment]
        if sure:
            self.sure_hits += 1
            self.sure_sum += score
        self.hits += 1
        self.key_frames += 1
        self.misses, self.lost = 0, False

    def miss(self, frame: int, max_misses: int) -> None:
        """The detector did not find it in a key frame; after `max_misses` it is lost."""
        self.key_frames += 1
        self.misses += 1
        if self.misses == 1:
            self.missed_since = frame
        if self.misses >= max_misses:
            self.lost = True
            self.hidden.append((self.missed_since, frame))

    def expected_at(self, frame: int) -> Floats:
        """Where its centre should be in `frame` if it kept moving."""
        return centre(self.box) + self.velocity * (frame - self.placed)

    def expected_mask(self, frame: int, size_wh: tuple[float, float]) -> Bools:
        """Its mask (g, g) in `frame` if it kept its form and motion; `size_wh` is the frame's."""
        dx, dy = self.velocity * (frame - self.placed) / np.array(size_wh) * self.mask.shape[::-1]
        return shifted(self.mask, round(float(dx)), round(float(dy)))

    def rest(self) -> None:
        """Let go of what only a track that may be seen again needs."""
        self.mask = np.zeros((0, 0), bool)
        self.beside = set()

    def absorb(self, other: Track) -> None:
        """Take over the detections of a track that turned out to be the same object."""
        self.votes.update(other.votes)
        self.hits += other.hits
        self.sure_hits += other.sure_hits
        self.sure_sum += other.sure_sum
        self.misses = 0


def centre(box_xyxy: Floats) -> Floats:
    """Centre (x, y) of a box."""
    return np.asarray((box_xyxy[:2] + box_xyxy[2:]) / 2, float)


def shifted(mask_hw: Bools, dx: int, dy: int) -> Bools:
    """A mask moved by whole pixels; what leaves the grid is lost."""
    h, w = mask_hw.shape
    moved = np.zeros_like(mask_hw)
    rows, columns = slice(max(dy, 0), h + min(dy, 0)), slice(max(dx, 0), w + min(dx, 0))
    back = slice(max(-dy, 0), h + min(-dy, 0)), slice(max(-dx, 0), w + min(-dx, 0))
    if abs(dy) < h and abs(dx) < w:
        moved[rows, columns] = mask_hw[back]
    return moved


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


def keep(track: Track, rules: TrackRules) -> bool:
    """Whether a finished track had the detections that its key frames allowed."""
    return track.hits >= min(rules.min_hits, max(track.key_frames, 1))


def _best_pairs(worth: Floats) -> Pairs:
    """The one-to-one pairs of the highest total worth; pairs of worth 0 do not count."""
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if worth[r, c] > 0]
