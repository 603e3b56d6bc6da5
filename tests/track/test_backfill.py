"""What a key frame tells of the frames before it, without any model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.data.types import Frame, Item
from annotate.track.backfill import Seeds, carry_back, decide
from annotate.track.live_tracks import Memories
from annotate.track.sightings import Sighting, TrackedFrame
from tests.settings import TRACK
from tests.track.still_memory import NOWHERE, SIDE, StillMemory, box_of, drawing

ITEM = Item("clip.mp4", Path("clip.mp4"), "video")
HERE, THERE = (10, 10, 30, 30), (36, 36, 56, 56)


def held(*boxes: dict[int, tuple[int, int, int, int]]) -> list[TrackedFrame]:
    """A key frame without anybody, and frames after it with tracks where they were seen."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    made = [TrackedFrame(Frame(ITEM, picture, t), key=t == 0) for t in range(len(boxes) + 1)]
    for tracked, seen in zip(made[1:], boxes, strict=True):
        for track_id, box in seen.items():
            tracked.sightings[track_id] = Sighting(track_id, drawing(box), 0.7, "propagated")
    return made


def seeds(*, born=False, returned=False) -> Seeds:
    """Of track 1, seen HERE."""
    one, nobody = {1}, set()
    memories = [Memories([1], drawing(HERE)[None, None], torch.zeros(1, 4))]
    return Seeds(memories, one, one if born else nobody, one if returned else nobody)


def places(frames: list[TrackedFrame], track_id: int = 1) -> list:
    return [
        box_of(f.sightings[track_id].logits) if track_id in f.sightings else None for f in frames
    ]


def test_a_newborn_is_filled_back_to_where_it_first_appears():
    frames = held({}, {}, {}, {}, {})
    carry_back(StillMemory({4: {1: NOWHERE}}), frames, seeds(born=True), TRACK)
    assert places(frames) == [None, None, None, HERE, HERE, HERE]
    assert {f.sightings[1].origin for f in frames[3:]} == {"backfilled"}


def test_a_newborn_is_not_filled_back_over_another_track():
    frames = held({2: HERE}, {2: HERE}, {2: THERE}, {2: THERE})
    carry_back(StillMemory(), frames, seeds(born=True), TRACK)
    assert places(frames) == [None, None, None, HERE, HERE]
    assert places(frames, 2) == [None, HERE, HERE, THERE, THERE]


def test_what_is_seen_now_overrules_the_nearer_half_and_no_more():
    frames = held(*[{1: THERE}] * 4)
    carry_back(StillMemory(), frames, seeds(), TRACK)
    assert places(frames) == [None, THERE, THERE, HERE, HERE]
    assert frames[4].sightings[1].origin == "propagated"


def test_in_the_nearer_half_a_track_is_taken_out_where_it_cannot_be_carried():
    frames = held(*[{1: THERE}] * 4)
    carry_back(StillMemory({1: {1: NOWHERE}, 2: {1: HERE}}), frames, seeds(), TRACK)
    assert places(frames) == [None, THERE, THERE, HERE, None]


def test_a_track_does_not_overrule_itself_where_another_one_is_in_its_way():
    frames = held(*[{1: THERE, 2: HERE}] * 4)
    carry_back(StillMemory(), frames, seeds(), TRACK)
    assert places(frames) == [None, THERE, THERE, THERE, THERE]


def test_one_that_returned_is_filled_back_to_where_it_was_lost():
    frames = held({1: THERE}, {}, {}, {})
    carry_back(StillMemory(), frames, seeds(returned=True), TRACK)
    assert places(frames) == [None, THERE, HERE, HERE, HERE]


def test_key_frames_stay_as_they_are():
    frames = held({})
    carry_back(StillMemory(), frames, seeds(born=True), TRACK)
    assert places(frames) == [None, HERE]


def test_frames_are_embedded_again_only_where_their_embedding_was_not_kept():
    frames, memory = held({}, {}, {}), StillMemory()
    frames[3].embedding = memory.embed(frames[3].frame.image)
    carry_back(memory, frames, seeds(born=True), TRACK)
    assert memory.embedded == 1 + 2


def test_without_seeds_nothing_is_looked_at():
    frames, memory = held({}, {}), StillMemory()
    carry_back(memory, frames, Seeds([], set(), set(), set()), TRACK)
    assert memory.embedded == 0


@pytest.mark.parametrize(
    ("known", "shown", "free", "newborn", "nearer", "done"),
    [
        (False, True, True, True, False, "written, going on"),
        (True, True, True, True, True, ""),
        (False, False, False, True, True, ""),
        (True, True, True, False, True, "written, going on"),
        (True, True, False, False, True, "going on"),
        (True, False, False, False, True, "removed, going on"),
        (False, False, False, False, True, "going on"),
        (True, True, True, False, False, ""),
        (True, False, False, False, False, ""),
        (False, True, True, False, False, "written, going on"),
    ],
)
def test_what_becomes_of_a_track_in_a_frame(known, shown, free, newborn, nearer, done):
    rows = (np.array([value]) for value in (known, shown, free, newborn))
    said = zip(("removed", "written", "going on"), decide(*rows, nearer=nearer), strict=True)
    assert ", ".join(name for name, (is_so,) in said if is_so) == done
