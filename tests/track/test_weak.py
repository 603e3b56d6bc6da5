"""What is only ever found weakly: recorded with its score, and no trouble to what is sure."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from annotate.data.types import FrameRecord
from annotate.runner.pipeline import VideoPass
from annotate.track.tracker import VideoTracker
from tests.settings import SEGMENT, TRACK
from tests.track.following import HERE, NEAR, THERE, Fixed, blank, drawn, follow, frames
from tests.track.still_memory import StillMemory, detections

SURE, WEAK = 0.6, 0.2
PART = (10, 10, 20, 20)  # of HERE


def settled(said, *, every=1, rules=TRACK, pictures=None, memory=None) -> list[FrameRecord]:
    of = blank(every * (len(said) - 1) + 1) if pictures is None else pictures
    memory = memory or StillMemory()
    tracker = VideoTracker(memory, Fixed(said), rules, every=every, batch=1)
    passing = VideoPass(tracker, of, SEGMENT)
    return list(passing.settled(list(passing.provisional())))


def seen(records) -> list[dict[int, float]]:
    """Scores by track, frame by frame."""
    return [{i.track_id: round(i.score, 3) for i in r.instances} for r in records]


def test_what_is_weak_throughout_is_a_track_with_a_weak_score():
    records = settled([detections((HERE, 0.2, 3)), detections((HERE, 0.3, 3))] * 3)
    assert seen(records) == [{1: 0.25}] * 6
    (instance,) = records[2].instances
    assert (instance.class_id, instance.phrase, instance.origin) == (3, "class 3", "detected")
    assert instance.box_xyxy == HERE and instance.margin == pytest.approx(0.2)
    assert instance.instance_id == "clip.mp4#000002:1"


def test_sure_tracks_have_the_ids_that_they_would_have_alone():
    weak = (THERE, WEAK, 0)
    both = detections((HERE, SURE, 1), weak)
    assert seen(settled([detections(weak)] * 2 + [both] * 4))[2:] == [{1: 0.6, 2: 0.2}] * 4
    alone = settled([detections()] * 2 + [detections((HERE, SURE, 1))] * 4)
    assert seen(alone)[2:] == [{1: 0.6}] * 4


def test_what_is_sure_later_is_labelled_where_it_was_found_weakly():
    """From frame 5 on it is sure; before, it moved a little."""
    weak = [detections((HERE, WEAK, 0))] * 3 + [detections((NEAR, 0.3, 0))] * 2
    records = settled(weak + [detections((NEAR, SURE, 0))] * 4)
    assert seen(records) == [{1: 0.6}] * 9
    assert [r.instances[0].origin for r in records] == ["backfilled"] * 5 + ["detected"] * 4
    assert [r.instances[0].box_xyxy for r in records] == [HERE] * 3 + [NEAR] * 6


def test_a_single_weak_frame_before_is_labelled_too():
    said = [detections(), detections((HERE, WEAK, 0)), *[detections((HERE, SURE, 0))] * 4]
    assert seen(settled(said)) == [{}, *[{1: 0.6}] * 5]


def test_what_is_weak_and_what_is_sure_elsewhere_are_two():
    said = [detections((HERE, WEAK, 0))] * 4 + [detections((THERE, SURE, 0))] * 4
    assert seen(settled(said)) == [{2: 0.2}] * 4 + [{1: 0.6}] * 4


def test_a_weak_false_alarm_leaves_no_track():
    said = [detections()] * 3 + [detections((HERE, WEAK, 0))] * 2 + [detections()] * 4
    assert seen(settled(said)) == [{}] * 9


def test_a_sure_track_that_is_dropped_leaves_the_weak_one():
    """Seen surely once, and taken for a false alarm; found weakly long enough before."""
    rules = replace(TRACK, min_hits=4)
    said = [detections((HERE, WEAK, 0))] * 4 + [detections((HERE, SURE, 0))] + [detections()] * 5
    assert seen(settled(said, rules=rules))[:4] == [{1: 0.2}] * 4


@pytest.mark.parametrize("box", [HERE, NEAR, PART])
def test_what_a_sure_track_holds_is_no_weak_one(box):
    sure = detections((HERE, SURE, 0))
    records = settled([sure, *[detections((HERE, SURE, 0), (box, WEAK, 0))] * 5])
    assert seen(records) == [{1: 0.6}] * 6


def test_weak_detections_of_one_object_are_one_track():
    assert seen(settled([detections((HERE, 0.3, 0), (NEAR, WEAK, 0))] * 4)) == [{1: 0.3}] * 4


def test_a_cut_ends_weak_tracks():
    pictures = frames([f.image for f in blank(4) + blank(4, colour=240)])
    records = settled([detections((HERE, WEAK, 0))] * 8, pictures=pictures)
    assert seen(records) == [{1: 0.2}] * 4 + [{2: 0.2}] * 4


def test_only_key_frames_have_weak_tracks():
    records = settled([detections((HERE, WEAK, 0))] * 3, every=4)
    assert [bool(r.instances) for r in records] == [t % 4 == 0 for t in range(9)]


def test_memory_follows_no_weak_track():
    followed = []

    class Watched(StillMemory):
        def carry(self, embedding, bank, ids, time):
            followed.append(list(ids))
            return super().carry(embedding, bank, ids, time)

    memory = Watched()
    said = [detections((HERE, SURE, 0), (THERE, WEAK, 0))] * 5
    assert seen(settled(said, memory=memory)) == [{1: 0.6, 2: 0.2}] * 5
    assert followed == [[1]] * 4
    assert memory.banks[0].ids == [1]


def test_false_alarms_of_a_long_video_are_forgotten():
    places = [(8 * (t % 7), 40, 8 * (t % 7) + 6, 46) for t in range(200)]
    said = [detections((HERE, SURE, 0), (place, WEAK, 0)) for place in places]
    tracker, _ = follow(StillMemory(), said)
    assert tracker.kept().keys() == {1, 201}  # the last one might have gone on
    assert len(tracker.state()["tracks"]) < 10


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_tracker_that_goes_on_follows_them_as_before(stop):
    weak = [detections((HERE, WEAK, 0), (THERE, 0.3, 1))] * 5
    said = [*weak, *[detections((HERE, SURE, 0), (THERE, 0.3, 1))] * 5]
    _, whole = follow(StillMemory(), said)
    before = VideoTracker(StillMemory(), Fixed(said), TRACK, every=1, batch=1)
    handed, states = [], []
    for tracked in before.track(
        blank(10), at_rest=lambda: states.append((len(handed), deepcopy(before.state())))
    ):
        handed.append(tracked)
    count, state = states[stop - 1]
    after = VideoTracker(StillMemory(), Fixed(said[stop:]), TRACK, every=1, batch=1)
    source = iter(blank(10)[count:])
    after.restore(state, source)
    again = handed[:count] + list(after.track(source))
    assert [drawn(t) for t in again] == [drawn(t) for t in whole]
    assert [(t.track_id, t.merged_into) for t in after.kept().values()] == [
        (t.track_id, t.merged_into) for t in before.kept().values()
    ]


def test_where_records_of_sure_tracks_meet_weak_ones_they_do_not_change():
    sure = [detections((HERE, SURE, 0)), detections((HERE, 0.5, 0))] * 4
    both = [
        detections((HERE, float(d.scores[0]), 0), (THERE, WEAK, 1), (PART, 0.15, 1)) for d in sure
    ]
    alone, beside = settled(sure), settled(both)
    kept = [[i for i in r.instances if i.score >= TRACK.birth_score] for r in beside]
    assert [list(r.instances) for r in alone] == kept
    assert all(len(r.instances) > len(k) for r, k in zip(beside, kept, strict=True))


def test_masks_are_those_of_the_detections():
    _, tracked = follow(StillMemory(), [detections((THERE, WEAK, 0))] * 3)
    (sighting,) = tracked[1].sightings.values()
    assert isinstance(sighting.logits, torch.Tensor) and drawn(tracked[1]) == {1: THERE}
