"""One object of a video: where it was, what it was taken for, how often it was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


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
    opinions: dict[int, tuple[float, int]] = field(default_factory=dict)  # class -> sum, count

    @property
    def weak(self) -> bool:
        """Whether no detection of it was sure."""
        return not self.sure_hits

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
        """Mean score of its sure detections: weak ones confirm a track, they do not weaken it.

        Of a weak track, which has no sure ones, the mean of all.
        """
        if self.sure_hits:
            return self.sure_sum / self.sure_hits
        return sum(self.votes.values()) / self.hits

    @property
    def verified(self) -> float | None:
        """The mean second opinion on its class, 0..1; None where none was given."""
        total, count = self.opinions.get(self.class_id, (0.0, 0))
        return total / count if count else None

    def opine(self, class_id: int, opinion: float) -> None:
        """A second opinion, 0..1, on what was detected of it as this class."""
        total, count = self.opinions.get(class_id, (0.0, 0))
        self.opinions[class_id] = total + opinion, count + 1

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
        for class_id, (total, count) in other.opinions.items():
            own, known = self.opinions.get(class_id, (0.0, 0))
            self.opinions[class_id] = own + total, known + count
        self.hits += other.hits
        self.sure_hits += other.sure_hits
        self.sure_sum += other.sure_sum
        self.misses = 0


def seen_side_by_side(tracks: Collection[Track]) -> None:
    """Tracks that are detected in one frame are different objects, and stay so."""
    ids = {track.track_id for track in tracks}
    for track in tracks:
        track.beside |= ids - {track.track_id}


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
