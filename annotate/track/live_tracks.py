"""The tracks of a video while it is tracked: who lives, and what memory holds of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from annotate.config.settings import TrackSettings
from annotate.models.transfer import indices
from annotate.segment.base import Embedding, Prediction
from annotate.segment.video import VideoSegmenter
from annotate.track import matching
from annotate.track.observations import GRID, Carried, Found, carry, expected, square
from annotate.track.settling import keep
from annotate.track.tracks import Bools, Track

MAX_ANCHORS = 4  # prompted frames remembered per object: the first, and the newest


@dataclass(frozen=True, slots=True)
class Memories:
    """What remembers k tracks in one frame."""

    ids: Sequence[int]  # (k,) of the tracks
    features: Tensor  # (k, m, s, s) mask memories
    pointers: Tensor  # (k, c) object pointers

    def of(self, ids: Collection[int]) -> Memories:
        """Those of some of the tracks."""
        rows = [row for row, track_id in enumerate(self.ids) if track_id in ids]
        if len(rows) == len(self.ids):
            return self
        index = indices(tuple(rows), self.features.device)
        some = (held.index_select(0, index) for held in (self.features, self.pointers))
        return Memories([self.ids[row] for row in rows], *some)


class LiveTracks:
    """Tracks by id; `time` counts the frames seen, and is what Track and MemoryBank count in."""

    def __init__(self, memory: VideoSegmenter, rules: TrackSettings) -> None:
        self.memory = memory
        self.rules = rules
        self.bank = memory.bank(max_anchors=MAX_ANCHORS)
        self.born: dict[int, Track] = {}  # every track ever, but weak ones that came to nothing
        self.births = 0  # the last id given
        self.alive: dict[int, Track] = {}  # those that memory follows, and that may be seen again
        self.weak: dict[int, Track] = {}  # what was only ever found weakly, followed by overlap
        self.time = 0

    def carry(self, embedding: Any, size_hw: tuple[int, int]) -> Carried:
        """Carry the tracks that are not lost into a frame; those unseen for too long end.

        Without a memory they are where motion leads them.
        """
        for track_id, track in list(self.alive.items()):
            if self.time - track.last_seen - 1 > self.rules.max_gap:
                self.end(track_id)
        followed = [i for i, track in self.alive.items() if not track.lost]
        if not self.memory.remembers:
            return expected(followed, self.expected_masks(followed, size_hw), size_hw)
        return carry(self.memory, embedding, self.bank, followed, self.time)

    def expected_masks(self, ids: Sequence[int], size_hw: tuple[int, int]) -> Bools:
        """Where living tracks are if they kept form and motion, (k, GRID, GRID)."""
        h, w = size_hw
        masks = [self.alive[i].expected_mask(self.time, (w, h)) for i in ids]
        return np.array(masks, bool).reshape(-1, GRID, GRID)

    def birth(self, found: Found, row: int) -> int:
        """A new track of a detection; its id."""
        track = self._born(found, row)
        self.alive[track.track_id] = track
        self._hit(track, found, row)
        return track.track_id

    def hit(self, track_id: int, found: Found, row: int) -> None:
        """A detection shows the track."""
        self._hit(self.alive[track_id], found, row)

    def follow_weak(
        self, found: Found, rows: Sequence[int], births: Mapping[int, int], size_hw: tuple[int, int]
    ) -> dict[int, int]:
        """Follow what was only found weakly, by overlap alone; detections by weak track.

        `rows` are weak detections of what no track holds, `births` the sure ones by the track born
        of each. A weak track that one of these continues is merged into it, which fills that track
        back to where the object was found first; no memory is spent on what may be nothing.
        """
        known, columns = list(self.weak.values()), [*rows, *births.values()]
        heirs = dict(zip(births.values(), births, strict=True))
        h, w = size_hw
        expected = [track.expected_mask(self.time, (w, h)) for track in known]
        pairs = matching.continued(
            matching.Objects(
                np.array(expected, bool).reshape(len(known), GRID * GRID),
                np.array([track.class_id for track in known], int),
            ),
            matching.Objects(found.masks[columns], found.class_ids[columns]),
            found.scores[columns],
            self.rules,
        )
        seen = {columns[column]: known[row] for row, column in pairs}
        for track_id in self.weak.keys() - {track.track_id for track in seen.values()}:
            self.weak[track_id].miss(self.time, self.rules.max_misses)
        for column, track_id in heirs.items():
            if column in seen:
                seen[column].merged_into = track_id
        shown: dict[int, int] = {}
        for column in rows:
            track = seen[column] if column in seen else self._born(found, column)
            self.weak[track.track_id] = track
            self._hit(track, found, column)
            shown[track.track_id] = column
        for track in list(self.weak.values()):
            if track.lost or track.merged_into is not None:
                self._end_weak(track)
        return shown

    def _end_weak(self, track: Track) -> None:
        """It goes on no more; one that will not be kept is forgotten, for false alarms are many."""
        self.weak.pop(track.track_id).rest()
        if track.merged_into is None and not keep(track, self.rules):
            del self.born[track.track_id]

    def _born(self, found: Found, row: int) -> Track:
        box = found.mask_boxes[row]
        self.births += 1
        track = Track(self.births, last_seen=self.time, placed=self.time, box=box)
        self.born[track.track_id] = track
        return track

    def _hit(self, track: Track, found: Found, row: int) -> None:
        score = float(found.scores[row])
        track.see(self.time, found.mask_boxes[row], square(found.masks[row]))
        sure = score >= self.rules.birth_score
        track.hit(int(found.class_ids[row]), found.phrases[row], score, sure=sure)

    def end(self, track_id: int) -> None:
        """The track will not be seen again."""
        self.alive.pop(track_id).rest()
        self.bank.forget(track_id)

    def end_all(self) -> None:
        """A scene is over."""
        for track_id in list(self.alive):
            self.end(track_id)
        for track in list(self.weak.values()):
            self._end_weak(track)

    def let_go(self, in_sight: Set[int]) -> None:
        """Forget tracks that are over, but for those in sight and what these are merged into.

        What a track that lives on remembers of others, and of its own past, goes with them.
        """
        left = self.alive.keys() | self.weak.keys()
        for track_id in in_sight & self.born.keys():
            chain: int | None = track_id
            while chain in self.born and chain not in left:
                left.add(chain)
                chain = self.born[chain].merged_into
        self.born = {i: track for i, track in self.born.items() if i in left}
        for track in self.born.values():
            track.beside &= left
            track.hidden = track.hidden[-1:]  # the others are over for longer than a frame is held

    def remember(
        self, embedding: Embedding, ids: Sequence[int], said: Prediction
    ) -> Memories | None:
        """Remember a frame for tracks that are not prompted in it; how they are remembered."""
        if not ids or not self.memory.remembers:
            return None
        features = self.memory.encode(embedding, said.logits, said.present, prompted=False)
        self.bank.remember(self.time, ids, features, said.pointers)
        return Memories(ids, features, said.pointers)

    def anchor(
        self, embedding: Embedding, ids: Sequence[int], seeded: Prediction, *, afresh: bool
    ) -> Memories | None:
        """Remember a frame for tracks that were prompted in it; how they are remembered.

        `afresh`: what was remembered of them before is forgotten.
        """
        if not self.memory.remembers:
            return None
        features = self.memory.encode(embedding, seeded.logits, seeded.present, prompted=True)
        if afresh:
            for track_id in ids:
                self.bank.forget_past(track_id)
        self.bank.anchor(self.time, ids, features, seeded.pointers)
        return Memories(ids, features, seeded.pointers)

    def class_ids(self, ids: Sequence[int]) -> npt.NDArray[np.int_]:
        """The classes (k,) that living tracks have by now."""
        return np.array([self.alive[i].class_id for i in ids], int)
