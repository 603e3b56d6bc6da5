"""What a key frame does to tracks and to what memory holds of them, without any model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from annotate.data.geometry import encode_masks
from annotate.data.types import Rle
from annotate.track.observations import as_logits
from tests.settings import TRACK
from tests.track.following import HERE, NEAR, THERE, drawn, follow
from tests.track.still_memory import NOWHERE, SIDE, StillMemory, detections

BESIDE, OVER_HERE = (30, 8, 50, 28), (9, 8, 29, 28)


def test_of_one_that_returns_the_frames_before_are_forgotten():
    memory = StillMemory({t: {1: NOWHERE} for t in range(3, 8)})
    here, near = detections((HERE, 0.6, 0)), detections((NEAR, 0.6, 0))
    follow(memory, [here] * 3 + [detections()] * 4 + [near] * 2)
    bank = memory.banks[0]
    assert bank.times(1) == ([0, 7], [8])


@pytest.mark.parametrize(("of_memory", "mask"), [(0.95, HERE), (0.8, NEAR)])
def test_a_detection_that_confirms_gives_its_mask_where_that_is_better(of_memory, mask):
    memory = StillMemory(of_detections=0.9, of_memory=of_memory)
    said = [detections((HERE, 0.6, 0)), detections((NEAR, 0.2, 0))]  # unsure: nobody is anchored
    _, (_, second) = follow(memory, said)
    assert drawn(second) == {1: mask}
    assert second.sightings[1].mask_score == pytest.approx(max(0.9, of_memory))


def test_memory_that_drifted_is_anchored_anew():
    memory = StillMemory(of_memory=0.95)
    follow(memory, [detections((HERE, 0.6, 0)), detections((NEAR, 0.6, 0))])
    anchored, _ = memory.banks[0].times(1)
    assert anchored == [0, 1]


def test_one_out_of_sight_is_hidden_and_not_merged_with_whom_it_was_seen_beside():
    memory = StillMemory({2: {1: THERE}, 3: {1: HERE}})
    both = detections((HERE, 0.6, 0), (THERE, 0.6, 0))
    tracker, tracked = follow(memory, [both, both, detections((THERE, 0.6, 0)), both])
    assert [drawn(t).keys() for t in tracked] == [{1, 2}, {1, 2}, {2}, {1, 2}]
    assert tracker.kept().keys() == {1, 2}


def test_one_object_under_two_ids_is_merged():
    memory = StillMemory({2: {2: HERE}})
    first, second = detections((HERE, 0.6, 0)), detections((THERE, 0.6, 1))
    tracker, tracked = follow(memory, [first, second, first], rules=replace(TRACK, min_hits=1))
    assert [drawn(t).keys() for t in tracked] == [{1}, {1, 2}, {1}]
    kept = tracker.kept()
    assert kept[2].merged_into == 1
    assert kept[1].votes.keys() == {(0, "class 0"), (1, "class 1")}


def test_an_object_found_twice_draws_no_other_track_to_it():
    """Both tracks are missed by the detector once, when it finds the other one twice."""
    memory = StillMemory()
    memory.remembers = False
    both = detections((HERE, 0.6, 0), (BESIDE, 0.6, 0))
    twice = detections((HERE, 0.6, 0), (OVER_HERE, 0.6, 0))
    tracker, tracked = follow(memory, [both, both, both, twice, both, both])
    assert [drawn(t) for t in tracked] == [
        {1: HERE, 2: BESIDE} if n != 3 else {1: HERE} for n in range(6)
    ]
    assert tracker.kept().keys() == {1, 2}


def test_masks_that_came_with_detections_are_those_of_their_tracks():
    """Memory, sure of itself, draws them elsewhere."""
    memory = StillMemory({t: {1: NEAR} for t in range(1, 4)}, of_memory=0.99)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:20, 9:25] = True
    given = Rle(encode_masks(mask[None])[0], (SIDE, SIDE))
    said = [replace(detections((HERE, s, 0)), masks=(given,)) for s in (0.6, 0.2, 0.2)]
    _, tracked = follow(memory, said)
    for frame in tracked:
        assert frame.sightings[1].given == given
        assert drawn(frame)[1] == (9, 10, 25, 20)


def test_a_mask_too_small_for_the_grid_of_logits_is_still_somewhere():
    mask = np.zeros((20 * SIDE, 20 * SIDE), bool)
    mask[403:409, 801:808] = True
    given = Rle(encode_masks(mask[None])[0], mask.shape)
    logits = as_logits(given, torch.zeros(1, SIDE, SIDE))
    assert (logits > 0).nonzero().tolist() == [[20, 40]]
    assert not (
        as_logits(replace(given, counts=encode_masks(mask[None] & False)[0]), logits[None]) > 0
    ).any()


@pytest.mark.parametrize("every, remembered", [(1, list(range(9))), (4, [8])])
def test_sparse_key_frames_start_memory_afresh(every, remembered):
    memory = StillMemory()
    follow(memory, [detections((HERE, 0.6, 0))] * (8 // every + 1), every=every)
    bank = memory.banks[0]
    anchored, others = bank.times(1)
    assert sorted({*anchored, *others}) == remembered


def test_one_missed_by_the_detector_is_in_sight_where_memory_draws_it():
    said = [detections((HERE, 0.6, 0)), detections(), detections((HERE, 0.6, 0))]
    _, tracked = follow(StillMemory(), said, rules=replace(TRACK, max_gap=0))
    assert [drawn(t) for t in tracked] == [{1: HERE}] * 3
    assert [t.sightings[1].origin for t in tracked] == ["detected", "propagated", "detected"]
