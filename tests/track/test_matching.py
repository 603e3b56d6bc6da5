"""Who is who in a frame, without any model."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from annotate.config.schema import checked
from annotate.config.settings import TrackSettings
from annotate.errors import ConfigError
from annotate.track.matching import (
    Duplicate,
    Missing,
    Objects,
    assign,
    clashes,
    corrections,
    duplicates,
    find_again,
    overlaps,
    pair,
    reassign_lost,
    sizes,
    strangers,
    with_motion,
)
from tests.settings import TRACK


def pairs(iou, *, inside=None, same=None, scores=None) -> list[tuple[int, int]]:
    iou = np.array(iou, float)
    inside = iou if inside is None else np.array(inside, float)
    same = np.ones(iou.shape, bool) if same is None else np.array(same, bool)
    scores = np.full(iou.shape[1], 0.5) if scores is None else np.array(scores)
    return sorted(assign(iou, inside, same, scores, TRACK))


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


NEAR_PERFECT = 0.95


@pytest.mark.parametrize("poor", [0.41, 0.5, 0.6])
@pytest.mark.parametrize("scores", [[0.9, 0.9], [0.35, 0.9], [0.9, 0.2]])
def test_a_near_perfect_pair_is_not_given_up_for_two_poor_ones(poor, scores):
    assert pairs([[NEAR_PERFECT, poor], [poor, 0.0]], scores=scores) == [(0, 0)]


@pytest.mark.parametrize("poor", [0.41, 0.5])
def test_nor_is_one_of_another_class_for_two_poor_class_mates(poor):
    mates = [[False, True], [True, True]]
    assert pairs([[NEAR_PERFECT, poor], [poor, 0.0]], same=mates) == [(0, 0)]


def test_nor_are_two_for_three():
    overlap = [[0.95, 0.5, 0.0], [0.0, 0.95, 0.5], [0.5, 0.0, 0.0]]
    assert pairs(overlap) == [(0, 0), (1, 1)]


def test_nor_is_a_whole_for_its_part():
    overlap, inside = [[0.95, 0.15], [0.15, 0.0]], [[0.98, 0.95], [0.95, 0.0]]
    assert pairs(overlap, inside=inside) == [(0, 0)]


def test_nor_is_it_for_one_of_a_higher_score():
    assert pairs([[NEAR_PERFECT, 0.5]], scores=[0.35, 0.95]) == [(0, 0)]


def test_two_fair_pairs_are_better_than_one_that_is_a_little_better():
    assert pairs([[0.8, 0.75], [0.75, 0.0]]) == [(0, 1), (1, 0)]


def test_all_that_overlap_nothing_else_are_paired():
    assert pairs([[0.95, 0.0], [0.0, 0.41]]) == [(0, 0), (1, 1)]


def test_a_lost_object_very_near_is_not_given_up_for_two_far_ones():
    distance = np.array([[0.05, 0.9], [0.9, 9.0]])
    ones = np.ones((2, 2))
    assert reassign_lost(distance, ones, ones > 0, TRACK) == [(0, 0)]


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
    assert reassign_lost(np.array([[far, near]]), ones, same, TRACK) == [(0, 1)]
    assert reassign_lost(np.array([[far, far]]), ones, same, TRACK) == []
    assert reassign_lost(np.array([[near, far]]), ones, ~same, TRACK) == []
    assert reassign_lost(np.array([[near, far]]), ones * 4, same, TRACK) == []


def strip(start: int, end: int) -> np.ndarray:
    """A mask (40,) of the cells from `start` to before `end`."""
    mask = np.zeros(40, bool)
    mask[start:end] = True
    return mask


def objects(*spans: tuple[int, int], classes: tuple[int, ...] = ()) -> Objects:
    masks = np.array([strip(*span) for span in spans], bool).reshape(-1, 40)
    return Objects(masks, np.array(classes or [0] * len(spans), int))


def expected(*spans: tuple[int, int]) -> np.ndarray:
    return objects(*spans).masks


def test_objects_join():
    both = objects((0, 10), classes=(3,)).joined(objects((5, 9), (1, 2), classes=(4, 5)))
    np.testing.assert_array_equal(both.masks, expected((0, 10), (5, 9), (1, 2)))
    assert both.class_ids.tolist() == [3, 4, 5]


def test_motion_tells_twins_apart_that_memory_confuses():
    drawn, found = objects((10, 20), (10, 20)), objects((10, 20), (20, 30))
    scores, unseen = np.array([0.5, 0.5]), np.array([0, 0])
    left_moves = pair(drawn, expected((20, 30), (10, 20)), unseen, found, scores, TRACK)
    right_moves = pair(drawn, expected((10, 20), (20, 30)), unseen, found, scores, TRACK)
    assert (left_moves[0], right_moves[0]) == ([(0, 1), (1, 0)], [(0, 0), (1, 1)])
    np.testing.assert_allclose(left_moves[1], [[1, 0], [1, 0]])  # of memory alone


def test_pairs_within_a_class_need_less_overlap():
    drawn, moved, scores = objects((0, 12)), expected((0, 12)), np.array([0.9])
    for class_id, pairs_found in ((0, [(0, 0)]), (1, [])):
        found = objects((3, 15), classes=(class_id,))
        assert pair(drawn, moved, np.array([0]), found, scores, TRACK)[0] == pairs_found


@pytest.mark.parametrize("tracks, found", [(0, 2), (2, 0), (0, 0)])
def test_without_tracks_or_detections_there_are_no_pairs(tracks, found):
    spans = [(0, 10), (20, 30)]
    drawn, detected = objects(*spans[:tracks]), objects(*spans[:found])
    unseen, scores = np.zeros(tracks, int), np.ones(found)
    pairs_found, iou = pair(drawn, drawn.masks, unseen, detected, scores, TRACK)
    assert pairs_found == [] and iou.shape == (tracks, found)


def test_motion_says_less_the_longer_a_track_is_unseen():
    looks, moves = np.zeros((3, 1)), np.ones((3, 1))
    weighed = with_motion(looks, moves, np.array([0, 1, 20]), TRACK)
    np.testing.assert_allclose(weighed[:, 0], [0.5, 0.8 / 1.8, 0.8**20 / (1 + 0.8**20)])
    blind = with_motion(looks, moves, np.array([0, 1, 20]), replace(TRACK, motion=0.0))
    assert not blind.any()


@pytest.mark.parametrize(
    ("iou", "better", "sure", "every", "drifted", "replaced"),
    [
        (0.9, False, True, 1, False, False),
        (0.9, True, True, 1, False, True),  # a better mask is taken, and memory goes on
        (0.9, True, False, 1, False, True),
        (0.5, False, True, 1, True, True),
        (0.5, False, False, 1, False, False),  # only sure detections correct memory
        (0.9, False, True, 5, True, True),
        (0.9, False, False, 5, False, False),
    ],
)
def test_drifted_memory_is_anchored_anew_and_better_masks_are_taken(
    iou, better, sure, every, drifted, replaced
):
    quality = np.array([0.8 if better else 0.6])
    anew, taken = corrections(
        np.array([iou]), quality, np.array([0.7]), np.array([sure]), TRACK, every=every
    )
    assert (anew.tolist(), taken.tolist()) == ([drifted], [replaced])


def missing(*centres: tuple[float, float], size=10.0, unseen=0, drawn=False) -> Missing:
    k = len(centres)
    return Missing(
        np.array(centres, float), np.full(k, size), np.zeros(k, int), np.full(k, unseen),
        np.full(k, drawn),
    )  # fmt: skip


def boxes(*centres: tuple[float, float], size=10.0) -> np.ndarray:
    xy = np.array(centres, float)
    return np.concatenate([xy - size / 2, xy + size / 2], 1)


def again(tracks: Missing, found: np.ndarray, class_id: int = 0) -> list[tuple[int, int]]:
    return find_again(tracks, found, np.full(len(found), class_id), TRACK)


def test_a_missing_track_is_found_again_near_where_it_should_be():
    assert again(missing((50, 50)), boxes((90, 50), (60, 50))) == [(0, 1)]
    assert again(missing((50, 50)), boxes((66, 50))) == []  # more than 1.5 times its size away
    assert again(missing((50, 50)), boxes((60, 50)), class_id=1) == []
    assert again(missing((50, 50)), boxes((50, 50), size=30)) == []


def test_one_that_is_away_for_long_may_come_back_farther_off():
    assert again(missing((50, 50), unseen=10), boxes((78, 50))) == [(0, 0)]


def test_one_that_memory_still_draws_must_be_very_near():
    assert again(missing((50, 50), drawn=True), boxes((54, 50))) == [(0, 0)]
    assert again(missing((50, 50), drawn=True), boxes((60, 50))) == []


def test_the_size_of_a_box_is_the_side_of_its_square():
    found = sizes(np.array([[0, 0, 4, 9], [5, 5, 5, 9], [0, 0, 0.5, 0.5]]))
    np.testing.assert_allclose(found, [6, 1, 1])


def born(found: Objects, held: Objects, *, taken=()) -> list[int]:
    return strangers(found, held, set(taken), TRACK)


NOBODY = objects()


def test_detections_of_what_no_track_holds_become_tracks():
    found = objects((0, 10), (20, 30))
    assert born(found, NOBODY) == [0, 1]
    assert born(found, NOBODY, taken=[0]) == [1]
    assert born(found, objects((0, 9))) == [1]


def test_a_part_of_what_a_track_of_its_class_holds_is_no_birth():
    assert born(objects((0, 4)), objects((0, 30))) == []
    assert born(objects((0, 4)), objects((0, 30), classes=(1,))) == [0]


def test_of_two_detections_of_one_object_the_better_becomes_a_track():
    assert born(objects((0, 10), (0, 9), (20, 30)), NOBODY) == [0, 2]
    assert born(objects((0, 10), (0, 9), classes=(0, 1)), NOBODY) == [0]


def doubles(iou, *, matched=(), beside=(), scores=(0.5, 0.5, 0.5)) -> list[Duplicate]:
    k = len(iou)
    apart = np.zeros((k, k), bool)
    for one, other in beside:
        apart[one, other] = apart[other, one] = True
    rows = np.isin(np.arange(k), list(matched))
    return duplicates(np.array(iou), rows, apart, np.array(scores[:k]), TRACK)


ON_ONE = [[1, 0.9], [0.9, 1]]


def test_of_two_tracks_on_one_object_the_elder_takes_over():
    assert doubles(ON_ONE) == [Duplicate(0, 1, merged=True)]
    assert doubles(ON_ONE, matched=[1]) == [Duplicate(0, 1, merged=True)]
    assert doubles([[1, 0.8], [0.8, 1]]) == []


def test_two_that_are_both_detected_are_left_alone():
    assert doubles(ON_ONE, matched=[0, 1]) == []


def test_of_two_that_were_seen_side_by_side_the_doubtful_one_is_hidden():
    assert doubles(ON_ONE, beside=[(0, 1)], matched=[1]) == [Duplicate(1, 0, merged=False)]
    assert doubles(ON_ONE, beside=[(0, 1)], matched=[0], scores=(0.2, 0.9)) == [
        Duplicate(0, 1, merged=False)
    ]
    assert doubles(ON_ONE, beside=[(0, 1)], scores=(0.8, 0.7)) == [Duplicate(0, 1, merged=False)]


def test_one_that_is_gone_takes_no_other_with_it():
    on_one = np.full((3, 3), 0.9)
    assert doubles(on_one) == [Duplicate(0, 1, merged=True), Duplicate(0, 2, merged=True)]
    hidden_first = doubles(on_one, beside=[(0, 1)], matched=[1])
    assert hidden_first == [Duplicate(1, 0, merged=False), Duplicate(1, 2, merged=True)]


def test_a_mask_clashes_where_another_track_is_seen():
    iou = np.array([[0.5, 0.0], [0.5, 0.3], [0.0, 0.4]])
    assert clashes(iou, np.array([1, 2, 3]), np.array([1, 3]), TRACK).tolist() == [
        False, True, False,
    ]  # fmt: skip
    assert clashes(iou[:, :0], np.array([1, 2, 3]), np.array([], int), TRACK).tolist() == [
        False, False, False,
    ]  # fmt: skip


def test_rules_count_detections_where_only_some_frames_have_them():
    rules = replace(TRACK, max_misses=9, min_hits=6)
    sparse = rules.at_rhythm(3)
    assert (sparse.max_misses, sparse.min_hits) == (3, 2)
    assert replace(sparse, max_misses=9, min_hits=6) == rules.at_rhythm(1) == rules
    rare = rules.at_rhythm(100)
    assert (rare.max_misses, rare.min_hits) == (1, 1)


@pytest.mark.parametrize(
    ("key", "value"), [("match_iou", 1.2), ("max_gap", -1), ("prompt", "line"), ("min_hits", 0)]
)
def test_rules_name_what_is_out_of_range(key, value):
    with pytest.raises(ConfigError, match=rf"track\.{key}={value}: expected"):
        checked(TrackSettings, asdict(TRACK) | {key: value}, "track")


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 1000, 65536])
def test_overlaps_counted_in_words_are_those_counted_pixel_by_pixel(pixels):
    rng = np.random.default_rng(pixels)
    tracks, found = rng.random((5, pixels)) < 0.1, rng.random((7, pixels)) < 0.3
    tracks[0] = False
    iou, inside = overlaps(tracks, found)
    for one in range(5):
        for other in range(7):
            both = (tracks[one] & found[other]).sum()
            either = (tracks[one] | found[other]).sum()
            smaller = min(tracks[one].sum(), found[other].sum())
            assert iou[one, other] == np.float32(both) / np.float32(max(either, 1))
            assert inside[one, other] == np.float32(both) / np.float32(max(smaller, 1))
