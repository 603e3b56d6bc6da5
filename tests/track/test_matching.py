"""Assignment and the life of a track, without any model."""

from dataclasses import replace

import numpy as np
import pytest

from annotate.errors import ConfigError
from annotate.track.matching import TrackRules, assign, is_cut, keep, overlaps, reassign_lost
from annotate.track.tracks import Track, shifted

RULES = TrackRules(
    prompt="mask",
    birth_score=0.35,
    match_iou=0.4,
    inside=0.8,
    motion=1.0,
    drift_iou=0.7,
    duplicate_iou=0.85,
    max_gap=30,
    max_misses=3,
    min_hits=3,
    reach=1.5,
    cut=0.15,
)


def pairs(iou, *, inside=None, same=None, scores=None) -> list[tuple[int, int]]:
    iou = np.array(iou, float)
    inside = iou if inside is None else np.array(inside, float)
    same = np.ones(iou.shape, bool) if same is None else np.array(same, bool)
    scores = np.full(iou.shape[1], 0.5) if scores is None else np.array(scores)
    return sorted(assign(iou, inside, same, scores, RULES))


@pytest.mark.parametrize(
    ("iou", "expected"),
    [
        ([[0.9, 0.1], [0.1, 0.8]], [(0, 0), (1, 1)]),
        # The first match over a threshold would give (0, 0) and leave track 1 without any.
        ([[0.85, 0.8], [0.82, 0.1]], [(0, 1), (1, 0)]),
        ([[0.3]], []),
        ([[0.9, 0.85]], [(0, 0)]),
        ([[0.9], [0.85]], [(0, 0)]),
        (np.zeros((0, 3)), []),
        (np.zeros((2, 0)), []),
    ],
)
def test_assignment_is_optimal_and_one_to_one(iou, expected):
    assert pairs(iou) == expected


def test_a_class_mate_is_preferred():
    assert pairs([[0.6, 0.7]], same=[[True, False]]) == [(0, 0)]
    assert pairs([[0.45, 0.95]], same=[[True, False]]) == [(0, 1)]
    assert pairs([[0.6]], same=[[False]]) == []


def test_a_sure_detection_is_preferred():
    assert pairs([[0.7, 0.6]], scores=[0.1, 0.8]) == [(0, 1)]


def test_the_visible_part_of_a_half_hidden_object_matches_within_its_class():
    assert pairs([[0.2]], inside=[[0.95]]) == [(0, 0)]
    assert pairs([[0.2]], inside=[[0.95]], same=[[False]]) == []
    assert pairs([[0.05]], inside=[[1.0]]) == []


def test_overlaps():
    masks = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
    others = np.array([[0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]], bool)
    iou, inside = overlaps(masks, others)
    np.testing.assert_allclose(iou, [[2 / 6, 1 / 4], [0, 0]])
    np.testing.assert_allclose(inside, [[0.5, 1.0], [0, 0]])


def test_a_lost_object_returns_to_the_nearest_of_its_class_and_size():
    near, far = 0.3, 2.0
    same = np.array([[True, True]])
    ones = np.ones((1, 2))
    assert reassign_lost(np.array([[far, near]]), ones, same, RULES) == [(0, 1)]
    assert reassign_lost(np.array([[far, far]]), ones, same, RULES) == []
    assert reassign_lost(np.array([[near, far]]), ones, ~same, RULES) == []
    assert reassign_lost(np.array([[near, far]]), ones * 4, same, RULES) == []


def track(**changes) -> Track:
    made = Track(1, last_seen=0, placed=0, box=np.array([0.0, 0, 10, 10]))
    made.hit(2, "red car", 0.5, sure=True)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def test_class_is_voted_over_the_track():
    made = track()
    made.hit(1, "truck", 0.9, sure=True)
    assert made.class_id == 1
    made.hit(2, "auto", 0.6, sure=True)
    made.hit(2, "auto", 0.1, sure=False)
    assert (made.class_id, made.phrase) == (2, "auto")
    assert made.score == pytest.approx((0.5 + 0.9 + 0.6) / 3)


def test_ties_in_the_vote_do_not_depend_on_order():
    one, two = Track(1, 0, 0), Track(2, 0, 0)
    for class_id in (4, 3):
        one.hit(class_id, "x", 0.5, sure=True)
    for class_id in (3, 4):
        two.hit(class_id, "x", 0.5, sure=True)
    assert one.class_id == two.class_id == 3


def test_missed_key_frames_make_a_track_lost_and_take_back_what_it_claimed():
    made = track()
    for frame in (20, 40):
        made.miss(frame, 3)
        assert not made.lost
    made.miss(60, 3)
    assert made.lost and made.hidden == [(20, 60)]
    made.hit(2, "red car", 0.5, sure=True)
    assert not made.lost and made.misses == 0


def test_one_detection_between_misses_keeps_it_alive():
    made = track()
    for frame in range(1, 30):
        made.miss(frame, 3) if frame % 3 else made.hit(2, "red car", 0.5, sure=True)
    assert not made.lost and made.hidden == []


def test_it_is_expected_where_its_motion_leads():
    made = track()
    for frame in range(1, 11):
        made.hit(2, "red car", 0.5, sure=True)
        made.see(frame, np.array([4.0 * frame, 0, 4.0 * frame + 10, 10]), MASK)
    np.testing.assert_allclose(made.expected_at(15), [65, 5], atol=1)
    # 20 px to the right on a frame 80 px wide is a quarter of the grid.
    np.testing.assert_array_equal(made.expected_mask(15, (80, 80)), shifted(MASK, 2, 0))


MASK = np.zeros((8, 8), bool)
MASK[2:5, 1:4] = True


@pytest.mark.parametrize(
    ("dx", "dy"), [(0, 0), (2, 1), (-1, -2), (3, -2), (6, 0), (0, 9), (-20, 3)]
)
def test_a_shifted_mask_loses_what_leaves_the_grid(dx, dy):
    moved = {(y + dy, x + dx) for y, x in np.argwhere(MASK)}
    expected = {(y, x) for y, x in moved if 0 <= y < 8 and 0 <= x < 8}
    assert {(y, x) for y, x in np.argwhere(shifted(MASK, dx, dy))} == expected


def test_a_track_at_rest_holds_no_masks():
    made = track(mask=MASK, beside={2, 3})
    made.rest()
    assert made.mask.size == 0 and not made.beside


@pytest.mark.parametrize(
    ("hits", "key_frames", "kept"),
    [(1, 1, True), (1, 2, False), (2, 2, True), (2, 3, False), (3, 50, True)],
)
def test_a_track_needs_as_many_detections_as_its_key_frames_allow(hits, key_frames, kept):
    assert keep(track(hits=hits, key_frames=key_frames), RULES) == kept


def test_a_cut_is_a_change_of_the_whole_picture():
    dark, light = np.zeros((8, 8, 3)), np.ones((8, 8, 3))
    part = dark.copy()
    part[:2, :2] = 1
    assert is_cut(light, dark, 0.15)
    assert not is_cut(part, dark, 0.15)
    assert not is_cut(dark, None, 0.15)


@pytest.mark.parametrize(
    ("key", "value"), [("match_iou", 1.2), ("max_gap", -1), ("prompt", "line"), ("min_hits", 0)]
)
def test_rules_name_what_is_out_of_range(key, value):
    with pytest.raises(ConfigError, match=rf"track\.{key}={value}: expected"):
        replace(RULES, **{key: value})
