"""The tracking laws, on the real tiny models and generated frames."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from annotate.config.settings import TrackSettings
from annotate.data import geometry
from annotate.data.types import Detections, FrameRecord
from annotate.discover.class_list import load_prompts
from annotate.ground.base import Grounder
from annotate.runner.pipeline import VideoPass
from annotate.segment.video import VideoSegmenter
from annotate.synthetic.still import draw_still
from annotate.track.sightings import TrackedFrame
from annotate.track.tracker import KEPT_EMBEDDINGS, VideoTracker
from tests.ground.detectors import detector
from tests.settings import SEGMENT, TRACK
from tests.track.following import HERE, THERE, Fixed, blank, drawn, follow, frames
from tests.track.still_memory import NOWHERE, StillMemory, detections

NAMES = ["red circle", "blue square", "green triangle", "yellow cross"]
H, W = 192, 256
BACKGROUND = draw_still(5, (W, H), min_objects=0, max_objects=0).image
COLOURS = {"red circle": (214, 38, 40), "blue square": (36, 92, 214)}


def picture(*objects: tuple[str, float, float], background=BACKGROUND) -> np.ndarray:
    """A frame with objects (name, x, y) of 40 px painted on it, the last one in front."""
    image = background.copy()
    ys, xs = np.mgrid[0:H, 0:W] + 0.5
    for name, x, y in objects:
        dx, dy = np.abs(xs - x), np.abs(ys - y)
        inside = dx**2 + dy**2 < 20**2 if "circle" in name else (dx < 18) & (dy < 18)
        image[inside] = COLOURS[name]
    return image


@pytest.fixture(scope="module")
def grounder(tiny_dino) -> Grounder:
    return detector(tiny_dino, load_prompts(NAMES))


def run(
    tiny_segmenter,
    grounder,
    pictures,
    rules: TrackSettings = TRACK,
    *,
    every: int = 1,
    batch: int = 1,
) -> list[FrameRecord]:
    tracker = VideoTracker(
        VideoSegmenter(tiny_segmenter), grounder, rules, every=every, batch=batch
    )
    passing = VideoPass(tracker, frames(pictures), SEGMENT)
    provisional = list(passing.provisional())
    return list(passing.settled(provisional))


def ids(records, name: str) -> list[set[int]]:
    """Track ids of a class, frame by frame."""
    class_id = NAMES.index(name)
    return [{i.track_id for i in r.instances if i.class_id == class_id} for r in records]


def test_one_object_one_id_and_every_frame_in_order(tiny_segmenter, grounder):
    pictures = [picture(("red circle", 40 + 4 * t, 80)) for t in range(24)]
    records = run(tiny_segmenter, grounder, pictures)
    assert [r.frame_index for r in records] == list(range(24))
    assert [r.frame_id for r in records[:2]] == ["clip.mp4#000000", "clip.mp4#000001"]
    assert records[10].time_s == pytest.approx(0.4)
    assert ids(records, "red circle") == [{1}] * 24
    for t, record in enumerate(records):
        (instance,) = record.instances
        truth = np.abs(np.array(instance.box_xyxy) - [20 + 4 * t, 60, 60 + 4 * t, 100]).max()
        assert truth < 6
        assert instance.instance_id == f"{record.frame_id}:1"
        assert instance.score >= TRACK.birth_score


@pytest.mark.parametrize(
    ("in_front", "y_circle", "y_square"),
    [
        ("red circle", 90, 100),
        ("red circle", 84, 104),
        ("blue square", 84, 104),  # half of the circle stays in sight
        ("blue square", 90, 100),  # of the circle, slivers
    ],
)
def test_two_objects_that_cross_keep_their_ids(
    tiny_segmenter, grounder, in_front, y_circle, y_square
):
    pictures = []
    for t in range(25):
        objects = [("red circle", 40 + 7 * t, y_circle), ("blue square", 210 - 7 * t, y_square)]
        pictures.append(picture(*sorted(objects, key=lambda o: o[0] == in_front)))
    records = run(tiny_segmenter, grounder, pictures)
    for name in ("red circle", "blue square"):
        seen = set().union(*ids(records, name))
        assert len(seen) == 1, f"{name}: {seen}"


def seen_boxes(*centres: tuple[float, float]) -> Detections:
    """What a detector says of red circles, the last one in front: boxes of their visible parts."""
    ys, xs = np.mgrid[0:H, 0:W] + 0.5
    owner = np.zeros((H, W), int)
    for number, (x, y) in enumerate(centres, start=1):
        owner[(xs - x) ** 2 + (ys - y) ** 2 < 20**2] = number
    masks = np.stack([owner == number for number in range(1, len(centres) + 1)])
    boxes = geometry.mask_boxes(masks[masks.any((1, 2))])
    return said(*[(*box, 0.6, 0) for box in boxes.tolist()])


def test_twins_that_cross_keep_their_ids(tiny_segmenter):
    paths = [((40 + 7 * t, 84), (212 - 7 * t, 96)) for t in range(25)]
    pictures = [picture(*[("red circle", x, y) for x, y in path]) for path in paths]
    records = run(tiny_segmenter, Fixed([seen_boxes(*path) for path in paths]), pictures)
    sides = {}
    for t in (0, 24):
        left, right = sorted(records[t].instances, key=lambda i: i.box_xyxy[0])
        sides[t] = left.track_id, right.track_id
    assert sides[24] == sides[0][::-1]


def test_what_a_later_key_frame_shows_overrules_memory_in_the_half_nearer_to_it(tiny_segmenter):
    """A double stays behind when the circle jumps, and memory stays with it."""
    stays, jumps = ("red circle", 60, 80), ("red circle", 130, 80)
    pictures = [picture(*([stays] if t < 5 else [stays, jumps])) for t in range(9)]
    detector = Fixed([seen_boxes((60, 80)), seen_boxes((130, 80))])
    records = run(tiny_segmenter, detector, pictures, replace(TRACK, reach=8.0), every=8)
    for record, x in zip(records, [60] * 5 + [130] * 4, strict=True):
        (instance,) = record.instances
        assert instance.track_id == 1
        assert abs(sum(instance.box_xyxy[::2]) / 2 - x) < 8, record.frame_index


@pytest.mark.parametrize("every", [1, 5])
def test_an_object_out_of_sight_comes_back_as_itself(tiny_segmenter, grounder, every):
    path = [("red circle", 40 + 4 * t, 80) for t in range(40)]
    pictures = [picture(*([] if 12 <= t < 24 else [p])) for t, p in enumerate(path)]
    found = ids(run(tiny_segmenter, grounder, pictures, every=every), "red circle")
    assert set().union(*found) == {1}
    assert all(found[t] == {1} for t in (*range(10), *range(30, 40)))
    assert sum(bool(found[t]) for t in range(15, 23)) <= 2, "drawn where it is not"


def test_after_max_gap_it_is_another_object(tiny_segmenter, grounder):
    shown = picture(("red circle", 60, 80))
    pictures = [*[shown] * 8, *[picture()] * 12, *[shown] * 8]
    rules = replace(TRACK, max_gap=6)
    found = ids(run(tiny_segmenter, grounder, pictures, rules), "red circle")
    assert found[0] == {1} and found[-1] == {2}


def test_a_cut_ends_tracks(tiny_segmenter, grounder):
    other = BACKGROUND // 4
    before = [picture(("red circle", 60, 80)) for _ in range(8)]
    after = [picture(("red circle", 60, 80), background=other) for _ in range(8)]
    found = ids(run(tiny_segmenter, grounder, [*before, *after], every=5), "red circle")
    assert found[7] == {1} and found[8] == {2}


def test_a_late_object_is_filled_back_to_its_first_frame(tiny_segmenter, grounder):
    pictures = [
        picture(("red circle", 60, 80), *([("blue square", 190, 110)] if t >= 4 else []))
        for t in range(21)
    ]
    records = run(tiny_segmenter, grounder, pictures, every=10)
    found = ids(records, "blue square")
    assert not any(found[:4])
    assert all(len(f) == 1 for f in found[5:])
    origins = {
        r.frame_index: i.origin
        for r in records
        for i in r.instances
        if i.class_id == NAMES.index("blue square")
    }
    assert {origins[t] for t in range(5, 10)} == {"backfilled"}
    assert origins[10] == "detected" and origins[11] == "propagated"


@pytest.mark.parametrize("every", [1, 4])
def test_ids_and_masks_do_not_depend_on_the_batch(tiny_segmenter, grounder, every):
    pictures = [
        picture(("red circle", 40 + 5 * t, 70), ("blue square", 200 - 3 * t, 130))
        for t in range(17)
    ]
    alone = run(tiny_segmenter, grounder, pictures, every=every)
    batched = run(tiny_segmenter, grounder, pictures, every=every, batch=4)
    for one, two in zip(alone, batched, strict=True):
        assert [i.track_id for i in one.instances] == [i.track_id for i in two.instances]
        for a, b in zip(one.instances, two.instances, strict=True):
            mask, other = a.mask.decode(), b.mask.decode()
            assert (mask ^ other).sum() <= 0.01 * mask.sum() + 1


@pytest.mark.parametrize("prompt", ["mask", "box", "point"])
def test_every_way_to_tell_sam_of_an_object_works(tiny_segmenter, grounder, prompt):
    pictures = [picture(("red circle", 60 + 2 * t, 80)) for t in range(9)]
    found = ids(
        run(tiny_segmenter, grounder, pictures, replace(TRACK, prompt=prompt), every=8),
        "red circle",
    )
    assert found[0] == found[8] == {1}


def test_frames_are_released_as_they_are_settled(tiny_segmenter, grounder):
    pictures = [picture(("red circle", 60, 80))] * 30
    read = []

    def source():
        for frame in frames(pictures):
            read.append(frame.index)
            yield frame

    tracker = VideoTracker(VideoSegmenter(tiny_segmenter), grounder, TRACK, every=5, batch=1)
    for n, tracked in enumerate(tracker.track(source())):
        assert tracked.frame.index == n
        assert len(read) - n <= 2 * 5 + 1


def said(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    return Detections(
        boxes_xyxy=np.array([r[:4] for r in rows], np.float32).reshape(-1, 4),
        scores=np.array([r[4] for r in rows], np.float32),
        class_ids=np.array([r[5] for r in rows], np.int32),
        phrases=tuple(NAMES[r[5]] for r in rows),
        margins=np.array([r[4] for r in rows], np.float32),
    )


def test_the_class_is_voted_and_a_flicker_makes_no_second_track(tiny_segmenter):
    pictures = [picture(("red circle", 60, 80))] * 9
    box = (40, 60, 80, 100)
    detector = Fixed([said((*box, 0.6, 0 if t % 3 else 2)) for t in range(9)])
    records = run(tiny_segmenter, detector, pictures)
    assert [[(i.track_id, i.class_id) for i in r.instances] for r in records] == [[(1, 0)]] * 9
    # Where the detector took it for another class, its margin speaks against the track's.
    margins = [i.margin for r in records for i in r.instances]
    assert margins == pytest.approx([0.6 if t % 3 else -0.6 for t in range(9)])


def test_what_no_detector_saw_in_a_frame_has_no_margin(tiny_segmenter):
    pictures = [picture(("red circle", 60 + 2 * t, 80)) for t in range(9)]
    detector = Fixed([said((40 + 2 * t, 60, 80 + 2 * t, 100, 0.6, 0)) for t in (0, 4, 8)])
    records = run(tiny_segmenter, detector, pictures, every=4)
    known = [[i.margin is not None and i.box_iou > 0.8 for i in r.instances] for r in records]
    assert known == [[t % 4 == 0] for t in range(9)]


def test_a_single_false_alarm_leaves_no_track(tiny_segmenter):
    pictures = [picture(("red circle", 60, 80))] * 12
    box = (40, 60, 80, 100, 0.6, 0)
    false = (150, 40, 190, 90, 0.9, 1)
    detector = Fixed([said(box, false) if t == 5 else said(box) for t in range(12)])
    records = run(tiny_segmenter, detector, pictures)
    assert {i.class_id for r in records for i in r.instances} == {0}


def test_a_missed_detection_does_not_end_a_track(tiny_segmenter):
    pictures = [picture(("red circle", 60 + t, 80)) for t in range(12)]
    detector = Fixed(
        [said() if t in (4, 8) else said((40 + t, 60, 80 + t, 100, 0.6, 0)) for t in range(12)]
    )
    records = run(tiny_segmenter, detector, pictures)
    assert [len(r.instances) for r in records] == [1] * 12
    assert records[4].instances[0].origin == "propagated"


def test_no_id_is_used_twice_in_a_frame(tiny_segmenter, grounder):
    pictures = [
        picture(("red circle", 40 + 6 * t, 80), ("red circle", 200 - 6 * t, 90)) for t in range(20)
    ]
    for record in run(tiny_segmenter, grounder, pictures):
        given = [i.track_id for i in record.instances]
        assert len(given) == len(set(given))
        for instance in record.instances:
            mask = instance.mask.decode()
            assert instance.box_xyxy == tuple(geometry.mask_boxes(mask[None])[0].tolist())


def test_no_frames_no_records(tiny_segmenter, grounder):
    assert run(tiny_segmenter, grounder, []) == []


CIRCLE = (40, 60, 80, 100, 0.6, 0)  # a detection of the circle at (60, 80)


def test_max_gap_counts_the_frames_it_is_unseen(tiny_segmenter):
    rules = replace(TRACK, max_gap=4, min_hits=1)
    for gap, ids_seen in ((4, {1}), (5, {1, 2})):
        hidden = range(6, 6 + gap)
        pictures = [
            picture(*([] if t in hidden else [("red circle", 60, 80)])) for t in range(6 + gap + 6)
        ]
        detector = Fixed([said() if t in hidden else said(CIRCLE) for t in range(len(pictures))])
        records = run(tiny_segmenter, detector, pictures, rules)
        assert set().union(*ids(records, "red circle")) == ids_seen


def test_a_track_in_sight_is_not_stolen_by_a_class_mate_nearby(tiny_segmenter):
    mate = (98, 60, 138, 100, 0.6, 0)
    pictures = [
        picture(("red circle", 60, 80), *([("red circle", 118, 80)] if t >= 6 else []))
        for t in range(14)
    ]
    detector = Fixed(
        [said(mate) if t == 6 else said(CIRCLE, *([mate] if t > 6 else [])) for t in range(14)]
    )
    records = run(tiny_segmenter, detector, pictures)
    first = {r.frame_index: i for r in records for i in r.instances if i.track_id == 1}
    assert all(first[t].box_xyxy[0] < 60 for t in first), "id 1 went over to the other circle"


def test_two_boxes_on_one_object_are_one_track(tiny_segmenter):
    second = (40, 60, 80, 84, 0.5, 0)
    pictures = [picture(("red circle", 60, 80))] * 8
    records = run(tiny_segmenter, Fixed([said(CIRCLE, second)] * 8), pictures)
    assert [len(r.instances) for r in records] == [1] * 8


@pytest.mark.parametrize(("hits", "kept"), [((5,), False), ((5, 7), False), ((4, 5, 6), True)])
def test_a_track_needs_its_detections_however_it_ends(tiny_segmenter, hits, kept):
    other = (172, 92, 208, 128, 0.6, 1)
    pictures = [picture(("red circle", 60, 80), ("blue square", 190, 110))] * 14
    detector = Fixed([said(CIRCLE, *([other] if t in hits else [])) for t in range(14)])
    records = run(tiny_segmenter, detector, pictures)
    assert any(ids(records, "blue square")) == kept


def test_detections_are_counted_where_only_some_frames_have_them():
    both, one = detections((HERE, 0.6, 0), (THERE, 0.6, 0)), detections((HERE, 0.6, 0))
    for every, kept in ((1, {1}), (4, {1, 2})):
        tracker, _ = follow(StillMemory(), [one, both, one, one], every=every)
        assert tracker.kept().keys() == kept


def test_embeddings_are_kept_of_so_many_frames_and_no_more():
    memory, more = StillMemory(), 5
    said = [detections(), detections((HERE, 0.6, 0))]
    _, tracked = follow(memory, said, every=KEPT_EMBEDDINGS + more + 1)
    assert sum(t.embedding is not None for t in tracked) == KEPT_EMBEDDINGS
    assert memory.embedded == len(tracked) + more
    assert all(drawn(t) == {1: HERE} for t in tracked[1:])


@pytest.mark.parametrize("colour, track_id", [(40, 1), (240, 2)])
def test_a_tracker_that_goes_on_sees_a_cut_at_its_first_frame(colour, track_id):
    here, states = detections((HERE, 0.6, 0)), []
    before = VideoTracker(StillMemory(), Fixed([here] * 3), TRACK, every=1, batch=1)
    list(before.track(blank(3), at_rest=lambda: states.append(deepcopy(before.state()))))
    after = VideoTracker(StillMemory(), Fixed([here] * 2), TRACK, every=1, batch=1)
    after.restore(states[-1], iter(blank(3)[2:]))
    held, *rest = after.track(blank(2, colour=colour))
    assert [drawn(t) for t in (held, *rest)] == [{1: HERE}] + [{track_id: HERE}] * 2


def with_states(tracker, pictures) -> tuple[list[TrackedFrame], list[tuple[int, dict]]]:
    """What a tracker says, and its state wherever it rests with how much it had said by then."""
    seen: list[TrackedFrame] = []
    states: list[tuple[int, dict]] = []
    for tracked in tracker.track(
        frames(pictures), at_rest=lambda: states.append((len(seen), deepcopy(tracker.state())))
    ):
        seen.append(tracked)
    return seen, states


@pytest.mark.parametrize(("stop", "batch"), [(stop, batch) for stop in (6, 7) for batch in (1, 4)])
def test_ids_stand_through_a_flash_wherever_it_falls(stop, batch):
    """At a frame where windows and runs meet, too: the frame after it is looked at beforehand."""
    pictures = [f.image for f in blank(12)]
    pictures[6] = np.full_like(pictures[6], 240)
    here = detections((HERE, 0.6, 0))
    whole = VideoTracker(StillMemory(), Fixed([here] * 12), TRACK, every=1, batch=batch)
    assert [drawn(t) for t in whole.track(frames(pictures))] == [{1: HERE}] * 12
    before = VideoTracker(StillMemory(), Fixed([here] * 12), TRACK, every=1, batch=1)
    _, states = with_states(before, pictures)
    handed_out, state = states[stop - 1]
    after = VideoTracker(StillMemory(), Fixed([here] * 12), TRACK, every=1, batch=batch)
    source = iter(frames(pictures)[handed_out:])
    after.restore(state, source)
    assert [drawn(t) for t in after.track(source)] == [{1: HERE}] * (12 - handed_out)


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_tracker_that_goes_on_says_what_it_would_have_said(stop):
    """Windows of three frames; a cut at frame 4 sets off the key frames against them."""
    pictures = [f.image for f in blank(4) + blank(12, colour=240)]
    keys = [0, 3, 4, 7, 10, 13]
    both, one = detections((HERE, 0.6, 0), (THERE, 0.6, 1)), detections((THERE, 0.6, 1))
    said = [both, both, both, both, one, both]
    moved = {t: {3: NOWHERE} for t in (8, 9, 10)}
    _, whole = follow(StillMemory(moved), said, every=3, of=frames(pictures))
    before = VideoTracker(StillMemory(moved), Fixed(said), TRACK, every=3, batch=1)
    seen, states = with_states(before, pictures)
    count, state = states[stop - 1]
    left = Fixed(said[sum(key < 3 * stop for key in keys) :])
    after = VideoTracker(StillMemory(moved), left, TRACK, every=3, batch=1)
    source = iter(frames(pictures)[count:])
    after.restore(state, source)
    again = seen[:count] + list(after.track(source))
    assert [t.frame.index for t in whole if t.key] == keys
    assert [(t.key, drawn(t)) for t in again] == [(t.key, drawn(t)) for t in whole]
