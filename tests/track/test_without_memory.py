"""Videos with a segmenter that has no memory: overlap and motion of detections alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from annotate.runner.pipeline import VideoPass
from annotate.segment.none import Boxes
from annotate.segment.video import VideoSegmenter
from annotate.track.tracker import STATE_CLASSES, VideoTracker
from tests.settings import SEGMENT, TRACK
from tests.track.following import Fixed, blank
from tests.track.still_memory import SIDE, detections

SURE = 0.6
NOTHING = detections()


def box(x: float, y: float = 20, side: float = 12) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def at(*boxes, class_ids=None) -> object:
    classes = class_ids or [0] * len(boxes)
    return detections(*((b, SURE, c) for b, c in zip(boxes, classes, strict=True)))


def records(said, *, every=1, rules=TRACK, frames=None):
    tracker = VideoTracker(VideoSegmenter(Boxes()), Fixed(said), rules, every=every, batch=1)
    of = blank(every * (len(said) - 1) + 1) if frames is None else frames
    passing = VideoPass(tracker, of, SEGMENT, boxes_only=True)
    return list(passing.settled(list(passing.provisional())))


def ids(found) -> list[dict[int, tuple[float, ...]]]:
    return [{i.track_id: i.box_xyxy for i in r.instances} for r in found]


def test_a_still_object_is_one_track_with_the_detectors_boxes():
    place = box(10.3)
    found = records([at(place)] * 6)
    exact = tuple(np.float32(place).tolist())
    assert ids(found) == [{1: exact}] * 6
    assert {i.origin for r in found for i in r.instances} == {"detected"}


def test_what_moves_is_followed_by_its_motion():
    """Steps of a third of its size: expected at constant velocity, it is met whole."""
    found = records([at(box(2 + 4 * t)) for t in range(12)])
    assert [set(frame) for frame in ids(found)] == [{1}] * 12


def test_two_that_cross_keep_their_ids():
    paths = [(box(2 + 3 * t, 20), box(50 - 3 * t, 22)) for t in range(16)]
    found = ids(records([at(*pair) for pair in paths]))
    for frame, (one, two) in zip(found, paths, strict=True):
        assert frame == {1: one, 2: two}


def test_an_id_outlives_a_gap_of_max_gap_and_no_longer():
    seen = [at(box(20))] * 4
    short = ids(records(seen + [NOTHING] * TRACK.max_gap + seen))
    assert [set(f) for f in short[-4:]] == [{1}] * 4
    assert all(not f for f in short[4 : 4 + TRACK.max_gap]), "nothing is made up in a gap"
    long = ids(records(seen + [NOTHING] * (TRACK.max_gap + 1) + seen))
    assert [set(f) for f in long[-4:]] == [{2}] * 4


def test_ids_are_never_reused_and_each_detection_has_one():
    rng = np.random.default_rng(0)
    said = []
    for t in range(60):
        shown = [box(2 + (t * v) % 50, y, 8) for v, y in ((1, 2), (2, 16), (3, 30), (1, 44))]
        said.append(at(*(b for b in shown if rng.random() > 0.2)))
    rules = replace(TRACK, min_hits=1, max_gap=3)
    found = records(said, rules=rules)
    first: dict[int, int] = {}
    for t, frame in enumerate(ids(found)):
        boxes = list(frame.values())
        assert len(boxes) == len(set(boxes))
        assert {*boxes} == {tuple(b) for b in said[t].boxes_xyxy.tolist()}
        for track_id in frame:
            first.setdefault(track_id, t)
    births = [first[i] for i in sorted(first)]
    assert births == sorted(births)


def test_the_class_is_voted():
    said = [at(box(20), class_ids=[c]) for c in (1, 1, 0, 1, 1)]
    found = records(said)
    assert {i.class_id for r in found for i in r.instances} == {1}
    assert {i.track_id for r in found for i in r.instances} == {1}


def test_a_cut_ends_all_tracks():
    frames = [*blank(5), *(replace(f, index=f.index + 5) for f in blank(5, colour=220))]
    found = ids(records([at(box(20))] * 10, frames=frames))
    assert [set(f) for f in found] == [{1}] * 5 + [{2}] * 5


def test_only_frames_that_are_grounded_are_recorded():
    """Of the others nothing is known: recorded as empty, they would teach a wrong lesson."""
    found = records([at(box(20 + t)) for t in range(5)], every=4)
    assert [r.frame_index for r in found] == [0, 4, 8, 12, 16]
    assert [set(f) for f in ids(found)] == [{1}] * 5


@pytest.mark.parametrize("gap, same", [(29, True), (31, False)])
def test_gaps_are_counted_in_frames_where_not_every_frame_is_grounded(gap, same):
    """At every third frame: 9 groundings in vain are a gap of 29 frames, 10 one of 32."""
    missed = gap // 3
    said = [at(box(20))] * 4 + [NOTHING] * missed + [at(box(20))] * 4
    assert set(ids(records(said, every=3))[-1]) == ({1} if same else {2})


def test_a_rhythm_longer_than_the_gap_still_follows_from_one_grounding_to_the_next():
    found = records([at(box(20))] * 4, every=50)
    assert [set(f) for f in ids(found)] == [{1}] * 4


def test_it_goes_on_from_its_state_with_the_same_ids():
    said = [at(box(4 + 2 * t), box(50 - 2 * t, 44)) for t in range(9)]
    frames = blank(25)
    whole = ids(records(said, every=3, frames=frames))

    resting: list[dict] = []
    memory = VideoSegmenter(Boxes())
    tracker = VideoTracker(memory, Fixed(said), TRACK, every=3, batch=1)
    passing = VideoPass(tracker, frames[:15], SEGMENT, boxes_only=True)
    steps = passing.provisional(at_rest=lambda: resting.append(passing.state()))
    before = []
    for record in steps:
        before.append(record)
        if len(resting) == 3:
            break
    state = resting[-1]
    assert memory.state_classes == () and STATE_CLASSES
    again = VideoTracker(memory, Fixed(said[3:]), TRACK, every=3, batch=1)
    again.restore(state["tracker"], rest := iter(frames[min(state["held"]) :]))
    after = VideoPass(again, rest, SEGMENT, boxes_only=True)
    done = [r for r in before if r.frame_index < min(state["held"])]
    found = list(after.settled([*done, *after.provisional()]))
    assert ids(found) == whole
    assert memory.device == torch.device("cpu")


def test_frames_that_are_not_grounded_are_not_embedded():
    class Counting(Boxes):
        embedded = 0

        def embed(self, images):
            self.embedded += len(images)
            return super().embed(images)

    segmenter = Counting()
    tracker = VideoTracker(
        VideoSegmenter(segmenter), Fixed([at(box(20))] * 3), TRACK, every=10, batch=1
    )
    assert len(list(tracker.track(blank(21)))) == 3
    assert segmenter.embedded == 3 and SIDE == 64
