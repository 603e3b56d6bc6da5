"""Streams without end: what is handed out, and what is held meanwhile."""

from collections import defaultdict

import numpy as np

from annotate.runner.pipeline import VideoPass
from annotate.track.endless import EndlessSettling
from annotate.track.tracker import VideoTracker
from tests.settings import SEGMENT, TRACK
from tests.track.following import HERE, THERE, Fixed, blank
from tests.track.still_memory import StillMemory, detections
from tests.track.test_settling import instance, record, track, tracks

PARKED = (44, 4, 60, 20)


def stream(said, *, every=1):
    """A tracker without a model, and its records as they come."""
    tracker = VideoTracker(StillMemory(), Fixed(said), TRACK, every=every, batch=1)
    count = every * (len(said) - 1) + 1
    return tracker, VideoPass(tracker, iter(blank(count)), SEGMENT).so_far()


def test_what_is_held_does_not_grow_with_the_stream():
    """One object stays; others come and go, a new one every 40 frames, and false alarms."""
    said = []
    for t in range(2000):
        rows = [(PARKED, 0.9, 0)]
        if t % 40 < 5:
            rows.append(((HERE, THERE)[t // 40 % 2], 0.8, 1 + t // 40 % 3))
        if t % 7 == 0:
            rows.append(((2, 44, 12, 60), 0.2, 5))
        said.append(detections(*rows))
    tracker, records = stream(said)
    live = tracker._live
    most = 0
    seen = defaultdict(set)
    for handed in records:
        most = max(most, len(live.born))
        assert len(live.bank.ids) <= 4
        for found in handed.instances:
            seen[found.track_id].add((found.class_id, found.box_xyxy))
        parked = [i for i in handed.instances if i.box_xyxy == PARKED]
        assert [i.track_id for i in parked] == [1]
    assert most <= 8, "tracks that are over are forgotten"
    assert live.births > 250 and len(seen) >= 50, "there were many"
    assert all(len(what) == 1 for what in seen.values()), "an id is one object's"
    assert all(len(t.beside) <= 8 and len(t.hidden) <= 1 for t in live.born.values())


def test_a_record_comes_two_key_frames_after_its_frame_at_most():
    for every in (1, 5):
        read = 0

        def frames(count=60):
            nonlocal read
            for read, frame in enumerate(blank(count)):  # noqa: B007
                yield frame

        said = [detections((HERE, 0.9, 0))] * 60
        tracker = VideoTracker(StillMemory(), Fixed(said), TRACK, every=every, batch=1)
        late = [read - r.frame_index for r in VideoPass(tracker, frames(), SEGMENT).so_far()]
        assert len(late) == 60 and max(late) == 2 * every


def test_a_stream_that_ends_has_the_objects_of_a_video():
    said = [detections((HERE, 0.9, 1), (THERE, 0.7, 2))] * 8
    _, streamed = stream(said)
    tracker = VideoTracker(StillMemory(), Fixed(said), TRACK, every=1, batch=1)
    passing = VideoPass(tracker, blank(8), SEGMENT)
    settled = passing.settled(list(passing.provisional()))
    for one, other in zip(streamed, settled, strict=True):
        assert [i.instance_id for i in one.instances] == [i.instance_id for i in other.instances]
        assert [i.mask for i in one.instances] == [i.mask for i in other.instances]
        assert np.allclose([i.score for i in one.instances], [i.score for i in other.instances])


def test_an_object_keeps_its_number_when_tracks_are_merged():
    endless = EndlessSettling()
    apart = tracks(track(3), track(5))
    first = endless.settle(record(0, instance(5)), 0, apart)
    merged = tracks(track(3), track(5, merged_into=3))
    second = endless.settle(record(1, instance(3)), 1, merged)
    assert [i.track_id for r in (first, second) for i in r.instances] == [1, 1]
    endless.let_go({3})
    third = endless.settle(record(2, instance(3), instance(9)), 2, tracks(track(3), track(9)))
    assert [i.track_id for i in third.instances] == [1, 2]


def test_what_is_no_object_yet_is_not_handed_out():
    doubtful = track(3, hits=1, key_frames=2)
    assert EndlessSettling().settle(record(0, instance(3)), 0, tracks()).instances == ()
    shown = EndlessSettling().settle(record(0, instance(3)), 0, tracks(doubtful))
    assert shown.instances[0].phrase == "red car" and shown.instances[0].score == 0.5
