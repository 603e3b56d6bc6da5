"""Carry tracks back from a key frame through the frames since the last one."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch

from annotate.config.settings import TrackSettings
from annotate.data.types import Origin
from annotate.segment.video import VideoSegmenter
from annotate.track.live_tracks import Memories
from annotate.track.matching import clashes, overlaps
from annotate.track.observations import Carried, carry, of_rows, on_grid
from annotate.track.sightings import TrackedFrame
from annotate.track.tracks import Bools


@dataclass(frozen=True, slots=True)
class Seeds:
    """What a key frame tells of tracks to the frames before it."""

    memories: Sequence[Memories]
    tellers: Set[int]  # tracks of which these tell something
    born: Set[int]  # tracks
    returned: Set[int]  # tracks that were lost


def carry_back(
    memory: VideoSegmenter, held: Sequence[TrackedFrame], seeds: Seeds, rules: TrackSettings
) -> None:
    """Carry tracks backwards through `held`, the frames since the last key frame and that one.

    In the nearer half of them, what was seen of a track just now tells more than what was seen
    at the key frame before. Tracks born or found again now go on to where they first appear.
    """
    between = [tracked for tracked in reversed(held) if not tracked.key]
    bank = memory.bank(max_anchors=1)
    if not between:
        return
    ids: list[int] = []
    for told in (memories.of(seeds.tellers) for memories in seeds.memories):
        if told.ids:
            bank.anchor(0, told.ids, told.features, told.pointers)
            ids += told.ids
    for ago, tracked in enumerate(between, start=1):
        nearer = ago <= len(between) // 2
        ids = [i for i in ids if nearer or i in seeds.born or i in seeds.returned]
        if not ids:
            return
        embedding = tracked.embedding
        if embedding is None:
            embedding = memory.embed(tracked.frame.image)
        carried = carry(memory, embedding, bank, ids, ago)
        rows = _write(tracked, carried, rules, embedding.size_hw, born=seeds.born, nearer=nearer)
        ids = [ids[row] for row in rows]
        if ids:
            said = of_rows(carried.said, rows)
            features = memory.encode(embedding, said.logits, said.present, prompted=False)
            bank.remember(ago, ids, features, said.pointers)


def _write(
    tracked: TrackedFrame,
    carried: Carried,
    rules: TrackSettings,
    size_hw: tuple[int, int],
    *,
    born: Set[int],
    nearer: bool,
) -> list[int]:
    """Put into a frame what was carried back to it; the rows that are to be carried on."""
    ids = np.array(carried.ids)
    free = carried.shown & ~_in_the_way(tracked, carried, rules, size_hw)
    known = np.isin(ids, list(tracked.sightings))
    newborn = np.isin(ids, list(born))
    removed, written, going_on = decide(known, carried.shown, free, newborn, nearer=nearer)
    for row in np.flatnonzero(removed).tolist():
        del tracked.sightings[carried.ids[row]]
    for row in np.flatnonzero(written).tolist():
        origin: Origin = "propagated" if known[row] else "backfilled"
        tracked.sightings[carried.ids[row]] = carried.sighting(row, origin)
    rows: list[int] = np.flatnonzero(going_on).tolist()
    return rows


def decide(
    known: Bools, shown: Bools, free: Bools, newborn: Bools, *, nearer: bool
) -> tuple[Bools, Bools, Bools]:
    """Which tracks (k,) are taken out of a frame, which are written to it, and which go on.

    `known`: the frame has it already; `shown`: it was carried there; `free`: shown where no other
    track is seen; `newborn`: it has no past; `nearer`: the frame is in the half nearer to the key
    frame carried from, which there overrules what was known.
    """
    overrules = ~newborn if nearer else np.zeros_like(newborn)
    removed = overrules & known & ~shown
    written = free & (overrules | ~known)
    return removed, written, overrules | written


def _in_the_way(
    tracked: TrackedFrame, carried: Carried, rules: TrackSettings, size_hw: tuple[int, int]
) -> Bools:
    """Which of the tracks carried lie where another track is seen already, (k,)."""
    others = list(tracked.sightings)
    if not others:
        return np.zeros(len(carried.ids), bool)
    logits = torch.stack([tracked.sightings[i].logits for i in others])
    iou, _ = overlaps(carried.masks, on_grid(logits, size_hw)[0])
    return clashes(iou, np.array(carried.ids), np.array(others), rules)
