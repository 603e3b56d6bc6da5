"""Track objects through a video: SAM 2's memory carries the masks, the detector keeps them honest.

Key frames are grounded and segmented; what is found there confirms, corrects or gives birth to
tracks. Between key frames the masks are carried by memory alone. Frames are released once nothing
can change them any more, which is when the key frame after them is done: that bounds the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from annotate.data.geometry import mask_boxes
from annotate.data.types import Detections, Frame, Image, Origin
from annotate.ground.select import Grounder
from annotate.segment.sam2 import Embedding
from annotate.segment.sam2_memory import BANK_CLASSES, Prediction, Sam2Memory
from annotate.track.matching import (
    Pairs,
    TrackRules,
    assign,
    is_cut,
    keep,
    overlaps,
    reassign_lost,
)
from annotate.track.tracks import Bools, Floats, Track, centre

GRID = 256  # side of the grid on which masks are compared, px
MAX_ANCHORS = 4  # prompted frames remembered per object: the first, and the newest
THUMBNAIL = 32  # side, px
WINDOW = 32  # frames read ahead so that key frames share a forward
POINTS = 3  # per object, for `track.prompt=point`
KEPT_EMBEDDINGS = 32  # of frames between key frames; further ones are embedded again when needed


Memory = tuple[Tensor, Tensor]
"""What remembers one track in one frame: mask memory (m, s, s) and object pointer (c,)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One detection in one frame."""

    class_id: int
    box_xyxy: Floats  # (4,) px
    margin: float  # score above that of the best other class there


@dataclass(frozen=True, slots=True)
class Sighting:
    """One track in one frame."""

    track_id: int
    logits: Tensor  # (s, s) low-resolution mask logits
    mask_score: float
    origin: Origin
    seen: Seen | None = None  # what the detector found of it in this frame


@dataclass(slots=True)
class TrackedFrame:
    """A frame and who is in it."""

    frame: Frame
    key: bool  # it was grounded
    sightings: dict[int, Sighting] = field(default_factory=dict)  # by track id
    embedding: Embedding | None = None  # while the frame may be looked at again


@dataclass(frozen=True, slots=True)
class _Found:
    """The detections of a key frame that have a mask."""

    scores: Floats  # (n,)
    class_ids: npt.NDArray[np.int32]  # (n,)
    phrases: list[str]
    margins: Floats  # (n,) score above that of the best other class there
    boxes: Tensor  # (n, 4) xyxy px, the detector's
    logits: Tensor  # (n, s, s)
    ious: Floats  # (n,) the segmenter's estimate
    masks: Bools  # (n, GRID * GRID)
    mask_boxes: Floats  # (n, 4) xyxy px, of the masks

    def __len__(self) -> int:
        return len(self.scores)

    def seen(self, row: int) -> Seen:
        """The detection of one row."""
        box = self.boxes[row].cpu().numpy()
        return Seen(int(self.class_ids[row]), box, float(self.margins[row]))


# What a tracker's state holds besides plain values.
STATE_CLASSES = (*BANK_CLASSES, Track, Sighting, Seen)


class VideoTracker:
    """Tracks one video; when `track` is exhausted, `kept` says what each track came to."""

    def __init__(
        self, memory: Sam2Memory, grounder: Grounder, rules: TrackRules, *, every: int, batch: int
    ) -> None:
        """`every`: frames from one grounding to the next; `batch`: key frames per forward."""
        self._memory = memory
        self._grounder = grounder
        self._rules = rules.at_rhythm(every)
        self._every = every
        self._batch = batch
        self._bank = memory.bank(max_anchors=MAX_ANCHORS)
        self._tracks: dict[int, Track] = {}  # every track ever born
        self._alive: dict[int, Track] = {}
        self._held: list[TrackedFrame] = []  # since the last key frame
        self._time = 0  # frames seen; what Track and MemoryBank count in
        self._thumbnail: Floats | None = None  # of the last frame seen
        self._since_key = 0  # frames

    def track(
        self, frames: Iterable[Frame], *, at_rest: Callable[[], None] = lambda: None
    ) -> Iterator[TrackedFrame]:
        """Frames in their order with their sightings, each some frames after it was read.

        `at_rest` is called now and then, when `state` can be asked for: what was handed out and
        what the state holds are then all that was read.
        """
        for frame, cut, found in self._grounded(frames, at_rest):
            if cut:
                yield from self._held
                self._held = []
                self._end_scene()
            self._held.append(self._step(frame, found))
            self._time += 1
            if found is not None:
                yield from self._held[:-1]
                self._held = self._held[-1:]
        yield from self._held

    def kept(self) -> dict[int, Track]:
        """The tracks that had the detections they should have had."""
        return {i: t for i, t in self._tracks.items() if keep(t, self._rules)}

    def state(self) -> dict[str, Any]:
        """All that a tracker needs to go on from here; see `at_rest`."""
        return {
            "tracks": self._tracks,
            "alive": list(self._alive),
            "held": [(h.frame.index, h.key, h.sightings) for h in self._held],
            "time": self._time,
            "thumbnail": self._thumbnail,
            "since_key": self._since_key,
            "memory": self._memory.state(self._bank),
        }

    def restore(self, state: dict[str, Any], frames: Iterator[Frame]) -> None:
        """Go on from the state of a tracker with the same models and rules.

        `frames` begin with those that it still held, whose pictures are not in the state.
        """
        self._tracks = state["tracks"]
        self._alive = {i: self._tracks[i] for i in state["alive"]}
        self._held = [
            TrackedFrame(next(frames), key, sightings) for _, key, sightings in state["held"]
        ]
        self._time = state["time"]
        self._thumbnail, self._since_key = state["thumbnail"], state["since_key"]
        self._memory.restore(self._bank, state["memory"])

    def _grounded(
        self, frames: Iterable[Frame], at_rest: Callable[[], None]
    ) -> Iterator[tuple[Frame, bool, Detections | None]]:
        """Each frame, whether a scene begins with it, and its detections if it is a key frame."""
        source = iter(frames)
        keys_at_once = max(1, min(self._batch, WINDOW // self._every))
        while window := list(islice(source, keys_at_once * self._every)):
            marks = []
            for frame in window:
                before, self._thumbnail = self._thumbnail, _thumbnail(frame.image)
                cut = is_cut(self._thumbnail, before, self._rules.cut)
                since_key = 0 if cut else self._since_key
                marks.append((frame, cut, since_key == 0))
                self._since_key = (since_key + 1) % self._every
            keys = [frame.image for frame, _, key in marks if key]
            found = chain.from_iterable(
                self._grounder.find(keys[i : i + keys_at_once])
                for i in range(0, len(keys), keys_at_once)
            )
            for frame, cut, key in marks:
                yield frame, cut, next(found) if key else None
            at_rest()

    def _end_scene(self) -> None:
        for track_id in list(self._alive):
            self._end(track_id)

    def _end(self, track_id: int) -> None:
        self._alive.pop(track_id).rest()
        self._bank.forget(track_id)

    def _step(self, frame: Frame, detections: Detections | None) -> TrackedFrame:
        """Carry the tracks into a frame; in a key frame, settle them with what was found."""
        t = self._time
        for track_id, track in list(self._alive.items()):
            if t - track.last_seen - 1 > self._rules.max_gap:
                self._end(track_id)
        embedding = self._memory.image.embed(frame.image)
        followed = [i for i, track in self._alive.items() if not track.lost]
        carried = None
        if followed:
            carried = self._memory.carry(embedding, self._bank, followed, t)
        result = TrackedFrame(frame, key=detections is not None)
        if detections is None:
            if len(self._held) <= KEPT_EMBEDDINGS:
                result.embedding = embedding
            if carried is not None:
                self._follow(result, embedding, followed, carried)
        else:
            self._settle(result, embedding, followed, carried, self._segment(embedding, detections))
        return result

    def _follow(
        self, result: TrackedFrame, embedding: Embedding, followed: list[int], carried: Prediction
    ) -> None:
        """Between key frames: what memory says is what is."""
        masks, boxes = _on_grid(carried.logits, embedding.size_hw)
        for row, track_id in enumerate(followed):
            if masks[row].any() and float(carried.present[row]) > 0:
                self._alive[track_id].see(self._time, boxes[row], _square(masks[row]))
                self._sight(result, track_id, carried, row, "propagated")
        self._remember(embedding, followed, carried.logits, carried)

    def _settle(
        self,
        result: TrackedFrame,
        embedding: Embedding,
        followed: list[int],
        carried: Prediction | None,
        found: _Found,
    ) -> None:
        """In a key frame: pair tracks with detections, the optimal way, and deal with the rest."""
        t, rules = self._time, self._rules
        pairs: Pairs = []
        masks: Bools = np.zeros((0, GRID * GRID), bool)
        if carried is not None:
            masks, _ = _on_grid(carried.logits, embedding.size_hw)
            masks &= (carried.present > 0).cpu().numpy()[:, None]
        carried_iou, inside = overlaps(masks, found.masks)
        iou, inside = self._with_motion(followed, found, embedding.size_hw, carried_iou, inside)
        classes = np.array([self._alive[i].class_id for i in followed])
        same_class = classes[:, None] == found.class_ids[None]
        pairs = assign(iou, inside, same_class, found.scores, rules)
        anchored: dict[int, int] = {}  # track id -> detection that prompts it
        confirmed: set[int] = set()
        logits = carried.logits.clone() if carried is not None else None
        for row, column in pairs:
            track_id, sure = followed[row], found.scores[column] >= rules.birth_score
            # Memory that carried a mask over many frames has drifted, whether it shows or not.
            drifted = sure and (self._every > 1 or carried_iou[row, column] < rules.drift_iou)
            assert carried is not None and logits is not None
            better = found.ious[column] >= float(carried.ious[row])
            self._hit(track_id, t, found, column)
            if sure:
                confirmed.add(track_id)
            if drifted:
                anchored[track_id] = column
            if drifted or better:
                logits[row] = found.logits[column]
            score = max(float(found.ious[column]), float(carried.ious[row]))
            result.sightings[track_id] = Sighting(
                track_id, logits[row], score, "detected", found.seen(column)
            )
        matched = {followed[row] for row, _ in pairs}
        for track_id in confirmed:
            self._alive[track_id].beside |= confirmed - {track_id}
        taken = {column for _, column in pairs}
        shown = {track_id for row, track_id in enumerate(followed) if masks[row].any()}
        returned = self._return_lost(t, embedding, found, matched, taken, shown)
        for track_id, column in returned.items():
            self._bank.forget_moments(track_id)
            self._hit(track_id, t, found, column)
        for row, track_id in enumerate(followed):
            if track_id in matched or track_id in returned:
                continue
            track = self._alive[track_id]
            track.miss(t, rules.max_misses)
            # Shown, but not `see`n: memory may draw what is gone somewhere else, and a wrong
            # place would mislead the search for it.
            if masks[row].any() and not track.lost and carried is not None:
                track.last_seen = t
                self._sight(result, track_id, carried, row, "propagated")
        born = self._births(t, found, taken | set(returned.values()), masks, followed, result)
        anchored |= returned | born
        back: dict[int, Memory] = {}
        if carried is not None and logits is not None:
            going_on = [r for r, i in enumerate(followed) if i not in anchored and i in self._alive]
            if going_on:
                ids, said = [followed[r] for r in going_on], _rows(carried, going_on)
                features = self._remember(embedding, ids, logits[going_on], said)
                back |= _memories(ids, features, said.pointers)
        self._resolve_duplicates(result, matched)
        anchored = {i: column for i, column in anchored.items() if i in self._alive}
        if anchored:
            back |= self._anchor(result, embedding, anchored, found)
        seeds = {*confirmed, *returned, *born} & self._alive.keys()
        self._carry_back({i: m for i, m in back.items() if i in seeds}, set(born), set(returned))

    def _with_motion(
        self,
        followed: Sequence[int],
        found: _Found,
        size_hw: tuple[int, int],
        iou: Floats,
        inside: Floats,
    ) -> tuple[Floats, Floats]:
        """Overlaps of carried masks with detections, averaged with those of the expected masks.

        Memory knows looks, motion knows places: twins that cross are told apart by the latter.
        """
        if not iou.size:
            return iou, inside
        tracks = [self._alive[i] for i in followed]
        expected = [track.expected_mask(self._time, size_hw[::-1]) for track in tracks]
        moved_iou, moved_inside = overlaps(np.stack(expected).reshape(len(tracks), -1), found.masks)
        # The longer a track is unseen, the less its motion says.
        unseen = np.array([self._time - track.placed - 1 for track in tracks])
        trust = self._rules.motion * 0.8 ** unseen[:, None]
        return (iou + trust * moved_iou) / (1 + trust), (inside + trust * moved_inside) / (
            1 + trust
        )

    def _hit(self, track_id: int, t: int, found: _Found, column: int) -> None:
        track = self._alive[track_id]
        track.see(t, found.mask_boxes[column], _square(found.masks[column]))
        score = float(found.scores[column])
        track.hit(
            int(found.class_ids[column]),
            found.phrases[column],
            score,
            sure=score >= self._rules.birth_score,
        )

    def _return_lost(
        self,
        t: int,
        embedding: Embedding,
        found: _Found,
        matched: set[int],
        taken: set[int],
        shown: set[int],
    ) -> dict[int, int]:
        """Tracks the detections overlap nowhere, found again near where they should be."""
        missing = [i for i in self._alive if i not in matched]
        free = [
            c
            for c in range(len(found))
            if c not in taken and found.scores[c] >= self._rules.birth_score
        ]
        if not missing or not free:
            return {}
        h, w = embedding.size_hw
        tracks = [self._alive[i] for i in missing]
        expected = np.stack([track.expected_at(t) for track in tracks]).clip(0, [w, h])
        sizes = np.array([_size(track.box) for track in tracks])
        boxes = found.mask_boxes[free]
        centres, found_sizes = (
            np.stack([centre(b) for b in boxes]),
            np.array([_size(b) for b in boxes]),
        )
        # The longer it was away, the less its old motion says.
        slack = 1 + np.array([t - track.placed for track in tracks]) / 10
        # One that memory still draws is let go of only for what is very near where it should be.
        slack[[track.track_id in shown for track in tracks]] /= 3
        larger = np.maximum(sizes[:, None], found_sizes[None])
        apart = np.linalg.norm(expected[:, None] - centres[None], axis=2)
        same = (
            np.array([track.class_id for track in tracks])[:, None] == found.class_ids[free][None]
        )
        ratio = larger / np.minimum(sizes[:, None], found_sizes[None])
        pairs = reassign_lost(apart / (larger * slack[:, None]), ratio, same, self._rules)
        return {missing[row]: free[column] for row, column in pairs}

    def _births(
        self,
        t: int,
        found: _Found,
        taken: set[int],
        masks: Bools,
        followed: list[int],
        result: TrackedFrame,
    ) -> dict[int, int]:
        """New tracks for sure detections of what no track holds."""
        shown = [r for r, i in enumerate(followed) if i in result.sightings]
        known = sorted(taken)
        held = np.concatenate([masks[shown], found.masks[known]])
        classes = [self._alive[followed[r]].class_id for r in shown] + list(found.class_ids[known])
        iou, inside = overlaps(found.masks, held)
        same_class = found.class_ids[:, None] == np.array(classes)[None]
        another = (iou >= self._rules.match_iou) | (same_class & (inside >= self._rules.inside))
        twins, within = overlaps(found.masks, found.masks)
        mates = found.class_ids[:, None] == found.class_ids[None]
        same = (twins >= self._rules.match_iou) | (mates & (within >= self._rules.inside))
        born: dict[int, int] = {}
        for column in range(len(found)):  # the best first
            sure = found.scores[column] >= self._rules.birth_score
            if column in taken or not sure or another[column].any():
                continue
            if same[column, list(born.values())].any():
                continue
            track = Track(
                len(self._tracks) + 1, last_seen=t, placed=t, box=found.mask_boxes[column]
            )
            self._tracks[track.track_id] = self._alive[track.track_id] = track
            self._hit(track.track_id, t, found, column)
            born[track.track_id] = column
        return born

    def _resolve_duplicates(self, result: TrackedFrame, matched: set[int]) -> None:
        """Let one of two tracks go that lie on one object, unless both were detected.

        Tracks that were ever detected side by side are two objects: the one that is not detected
        now is out of sight, and memory has put its mask on the other. Else they are one object
        under two ids, and the elder takes over.
        """
        ids = sorted(i for i in result.sightings if i in self._alive)
        if len(ids) < 2:
            return
        logits = torch.stack([result.sightings[i].logits for i in ids])
        masks, _ = _on_grid(logits, (GRID, GRID))
        iou, _ = overlaps(masks, masks)
        for younger in range(1, len(ids)):
            for older in range(younger):
                pair = ids[older], ids[younger]
                if not set(pair) <= result.sightings.keys() or set(pair) <= matched:
                    continue
                if iou[older, younger] < self._rules.duplicate_iou:
                    continue
                first, second = (self._alive[i] for i in pair)
                if second.track_id in first.beside:
                    doubtful = min(
                        pair, key=lambda i: (i in matched, result.sightings[i].mask_score)
                    )
                    del result.sightings[doubtful]
                else:
                    second.merged_into = first.track_id
                    first.absorb(second)
                    self._end(second.track_id)
                    del result.sightings[second.track_id]

    def _anchor(
        self,
        result: TrackedFrame,
        embedding: Embedding,
        anchored: dict[int, int],
        found: _Found,
    ) -> dict[int, Memory]:
        """Prompt tracks with their detections; how each is remembered."""
        ids, columns = list(anchored), list(anchored.values())
        seeded = self._seed(result.frame, embedding, found, columns)
        features = self._memory.encode(embedding, seeded.logits, seeded.present, prompted=True)
        for row, track_id in enumerate(ids):
            if self._every > 1:
                self._bank.forget(track_id)
            self._bank.anchor(track_id, self._time, features[row], seeded.pointers[row])
            result.sightings[track_id] = Sighting(
                track_id,
                seeded.logits[row],
                float(found.ious[columns[row]]),
                "detected",
                found.seen(columns[row]),
            )
        return _memories(ids, features, seeded.pointers)

    def _carry_back(self, seeds: dict[int, Memory], born: set[int], returned: set[int]) -> None:
        """Carry tracks backwards through the frames since the last key frame.

        In the nearer half of them, what was seen of a track just now tells more than what was seen
        at the key frame before. Tracks born or found again now go on to where they first appear.
        """
        between = [tracked for tracked in reversed(self._held) if not tracked.key]
        bank = self._memory.bank(max_anchors=1)
        for track_id, (features, pointer) in seeds.items():
            bank.anchor(track_id, 0, features, pointer)
        ids = list(seeds)
        for ago, tracked in enumerate(between, start=1):
            nearer = ago <= len(between) // 2
            ids = [i for i in ids if nearer or i in born or i in returned]
            if not ids:
                return
            embedding = tracked.embedding or self._memory.image.embed(tracked.frame.image)
            carried = self._memory.carry(embedding, bank, ids, ago)
            masks, _ = _on_grid(carried.logits, embedding.size_hw)
            shown = masks.any(1) & (carried.present > 0).cpu().numpy()
            free = shown & ~self._clashes(tracked, embedding, ids, masks)
            going_on = []
            for row, track_id in enumerate(ids):
                known = track_id in tracked.sightings
                overrules = nearer and track_id not in born
                if overrules and known and not shown[row]:
                    del tracked.sightings[track_id]
                elif free[row] and (overrules or not known):
                    origin: Origin = "propagated" if known else "backfilled"
                    self._sight(tracked, track_id, carried, row, origin)
                elif not overrules:
                    continue
                going_on.append(row)
            ids = [ids[r] for r in going_on]
            if ids:
                said = _rows(carried, going_on)
                encoded = self._memory.encode(embedding, said.logits, said.present, prompted=False)
                bank.remember(ago, ids, encoded, said.pointers)

    def _clashes(
        self, tracked: TrackedFrame, embedding: Embedding, ids: Sequence[int], masks: Bools
    ) -> Bools:
        """Which of the masks (k, p) of the tracks `ids` lie where another track is seen, (k,)."""
        others = list(tracked.sightings)
        if not others:
            return np.zeros(len(ids), bool)
        logits = torch.stack([tracked.sightings[i].logits for i in others])
        iou, _ = overlaps(masks, _on_grid(logits, embedding.size_hw)[0])
        another = np.array(ids)[:, None] != np.array(others)[None]
        clashes: Bools = ((iou >= self._rules.match_iou) & another).any(1)
        return clashes

    def _seed(
        self, frame: Frame, embedding: Embedding, found: _Found, columns: Sequence[int]
    ) -> Prediction:
        if self._rules.prompt == "box":
            return self._memory.seed_boxes(embedding, found.boxes[columns])
        side = self._memory.model.image_size
        masks = (
            functional.interpolate(found.logits[columns][:, None], (side, side), mode="bilinear")[
                :, 0
            ]
            > 0
        )
        if self._rules.prompt == "mask":
            return self._memory.seed_masks(embedding, masks)
        points = np.stack([_inner_points(mask) for mask in masks.cpu().numpy()])
        labels = torch.ones(points.shape[:2], dtype=torch.int32, device=masks.device)
        return self._memory.seed_points(
            embedding, torch.from_numpy(points).to(masks.device), labels
        )

    def _segment(self, embedding: Embedding, detections: Detections) -> _Found:
        boxes = torch.from_numpy(detections.boxes_xyxy)
        if len(detections):
            logits, ious = self._memory.image.decode(embedding, boxes)
        else:
            logits, ious = torch.zeros(0, 1, 1), torch.zeros(0)
        masks, edges = _on_grid(logits, embedding.size_hw)
        rows = np.flatnonzero(masks.any(1))
        return _Found(
            scores=detections.scores[rows],
            class_ids=detections.class_ids[rows],
            phrases=[detections.phrases[r] for r in rows],
            margins=detections.margins[rows],
            boxes=boxes[rows],
            logits=logits[rows],
            ious=ious.cpu().numpy()[rows],
            masks=masks[rows],
            mask_boxes=edges[rows],
        )

    def _remember(
        self,
        embedding: Embedding,
        ids: Sequence[int],
        logits: Tensor,
        carried: Prediction,
    ) -> Tensor:
        features = self._memory.encode(embedding, logits, carried.present, prompted=False)
        self._bank.remember(self._time, ids, features, carried.pointers)
        return features

    @staticmethod
    def _sight(
        tracked: TrackedFrame,
        track_id: int,
        said: Prediction,
        row: int,
        origin: Origin,
    ) -> None:
        score = float(said.ious[row])
        tracked.sightings[track_id] = Sighting(track_id, said.logits[row], score, origin)


def _memories(ids: Sequence[int], features: Tensor, pointers: Tensor) -> dict[int, Memory]:
    return {track_id: (features[row], pointers[row]) for row, track_id in enumerate(ids)}


def _rows(said: Prediction, rows: Sequence[int]) -> Prediction:
    index = list(rows)
    return Prediction(
        said.logits[index], said.ious[index], said.present[index], said.pointers[index]
    )


def _on_grid(logits_kss: Tensor, size_hw: tuple[int, int]) -> tuple[Bools, Floats]:
    """Masks (k, GRID * GRID) for comparing, and their boxes (k, 4) in frame pixels."""
    if not len(logits_kss):
        return np.zeros((0, GRID * GRID), bool), np.zeros((0, 4))
    up = functional.interpolate(logits_kss[:, None].float(), (GRID, GRID), mode="bilinear")[:, 0]
    masks = (up > 0).cpu().numpy()
    h, w = size_hw
    boxes = mask_boxes(masks) * (np.array([w, h, w, h]) / GRID)
    return masks.reshape(len(masks), -1), boxes


def _square(mask: Bools) -> Bools:
    return mask.reshape(GRID, GRID)


def _size(box_xyxy: Floats) -> float:
    """Side of the square of a box's area, px; at least one."""
    w, h = box_xyxy[2:] - box_xyxy[:2]
    return max(float(np.sqrt(max(w * h, 0))), 1.0)


def _thumbnail(image: Image) -> Floats:
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _inner_points(mask_hw: Bools) -> Floats:
    """Points (POINTS, 2) xy deep inside a mask and away from each other."""
    depth = cv2.distanceTransform(np.pad(mask_hw, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    points = []
    for _ in range(POINTS):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((x + 0.5, y + 0.5))
        reach = max(int(depth[y, x]), 1)
        around = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        depth[around] = depth[around] / 4
    return np.array(points, np.float32)
