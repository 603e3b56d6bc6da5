"""Who lives and what memory holds of them, without any model."""

import numpy as np
import pytest
import torch

from annotate.track.live_tracks import LiveTracks
from annotate.track.observations import Found, segment
from tests.settings import TRACK
from tests.track.still_memory import SIDE, StillMemory, detections

PICTURE = np.zeros((SIDE, SIDE, 3), np.uint8)
BOX = (8, 8, 28, 28)


def found(memory: StillMemory, score: float = 0.6) -> Found:
    return segment(memory, memory.embed(PICTURE), detections((BOX, score, 2)), PICTURE.shape[:2])


def live(memory: StillMemory, *, tracks: int = 1) -> LiveTracks:
    made = LiveTracks(memory, TRACK)
    ids = [made.birth(found(memory), 0) for _ in range(tracks)]
    seeded = memory.seed_masks(memory.embed(PICTURE), torch.ones(tracks, SIDE, SIDE) > 0)
    made.anchor(memory.embed(PICTURE), ids, seeded, afresh=False)
    return made


def test_ids_are_never_given_again():
    memory = StillMemory()
    tracks = live(memory, tracks=2)
    tracks.end(2)
    assert tracks.birth(found(memory), 0) == 3
    assert (list(tracks.born), list(tracks.alive)) == ([1, 2, 3], [1, 3])


@pytest.mark.parametrize(("score", "sure_hits"), [(0.6, 2), (0.2, 1)])
def test_a_detection_counts_and_says_where_the_track_is(score, sure_hits):
    memory = StillMemory()
    tracks = live(memory)
    tracks.time = 4
    tracks.hit(1, found(memory, score), 0)
    track = tracks.alive[1]
    assert (track.hits, track.sure_hits, track.last_seen) == (2, sure_hits, 4)
    assert track.box.tolist() == list(BOX)


@pytest.mark.parametrize(("unseen", "lives"), [(TRACK.max_gap, True), (TRACK.max_gap + 1, False)])
def test_one_unseen_for_too_long_ends_and_is_forgotten(unseen, lives):
    memory = StillMemory()
    tracks = live(memory)
    tracks.time = unseen + 1
    assert tracks.carry(memory.embed(PICTURE), PICTURE.shape[:2]).ids == [1] * lives
    assert (1 in tracks.alive) == (1 in tracks.bank.ids) == lives


def test_the_lost_are_not_carried_but_waited_for():
    memory = StillMemory()
    tracks = live(memory, tracks=2)
    tracks.alive[1].lost = True
    tracks.time = 1
    assert tracks.carry(memory.embed(PICTURE), PICTURE.shape[:2]).ids == [2]
    assert 1 in tracks.bank.ids


def test_a_scene_ends_all():
    tracks = live(StillMemory(), tracks=3)
    tracks.end_all()
    assert not tracks.alive and not tracks.bank.ids and len(tracks.born) == 3


def test_those_anchored_afresh_are_remembered_by_that_frame_alone():
    memory = StillMemory()
    tracks, embedding = live(memory), memory.embed(PICTURE)
    seeded = memory.seed_masks(embedding, torch.ones(1, SIDE, SIDE) > 0)
    for time, afresh, anchors in ((1, False, [0, 1]), (2, True, [2])):
        tracks.time = time
        tracks.anchor(embedding, [1], seeded, afresh=afresh)
        assert tracks.bank.times(1) == (anchors, [])
