"""The life of a track, without any model."""

from collections import Counter

import numpy as np
import pytest

from annotate.track.tracks import Track, seen_side_by_side, shifted


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


def test_one_that_absorbs_another_counts_its_detections_as_its_own():
    elder, younger = track(misses=2), Track(2, 0, 0)
    younger.hit(1, "truck", 0.9, sure=True)
    younger.hit(2, "red car", 0.25, sure=False)
    elder.absorb(younger)
    assert elder.votes == Counter({(2, "red car"): 0.75, (1, "truck"): 0.9})
    assert (elder.class_id, elder.hits, elder.misses) == (1, 3, 0)
    assert elder.score == pytest.approx((0.5 + 0.9) / 2)


def test_tracks_detected_in_one_frame_know_of_each_other():
    one, two, three = (Track(i, 0, 0) for i in (1, 2, 3))
    seen_side_by_side([one, two])
    seen_side_by_side([two, three])
    seen_side_by_side([one])
    assert (one.beside, two.beside, three.beside) == ({2}, {1, 3}, {2})
