"""Cuts and key frames, without any model."""

from itertools import pairwise

import numpy as np
import pytest

from annotate.track.scenes import KeyFramePicker, is_cut, thumbnail

DARK, LIGHT = (np.full((48, 64, 3), value, np.uint8) for value in (20, 220))
GREEN = np.full((48, 64, 3), (20, 160, 20), np.uint8)


def looked(picker: KeyFramePicker, images) -> list[tuple[bool, bool]]:
    """What it says of pictures that follow each other."""
    return [picker.look(*pair) for pair in pairwise([*images, None])]


def test_a_cut_is_a_change_of_the_whole_picture():
    dark, light = np.zeros((8, 8, 3)), np.ones((8, 8, 3))
    part = dark.copy()
    part[:2, :2] = 1
    assert is_cut(light, dark, 0.15)
    assert not is_cut(part, dark, 0.15)
    assert not is_cut(dark, None, 0.15)


def test_a_thumbnail_is_small_and_in_shares_of_full_colour():
    image = DARK.copy()
    image[:, 32:] = 220
    small = thumbnail(image)
    assert small.shape == (32, 32, 3)
    np.testing.assert_allclose(small[:, :16], 20 / 255, atol=1e-6)
    np.testing.assert_allclose(small[:, 16:], 220 / 255, atol=1e-6)


def test_every_nth_frame_of_a_scene_is_a_key_frame():
    key_frames = KeyFramePicker(every=3, cut=0.15)
    looks = looked(key_frames, [DARK] * 5 + [LIGHT] * 4)
    assert [cut for cut, _ in looks] == [False] * 5 + [True] + [False] * 3
    assert [key for _, key in looks] == [t in (0, 3, 5, 8) for t in range(9)]


def test_they_go_on_from_where_others_were():
    before, after = (KeyFramePicker(every=3, cut=0.15) for _ in range(2))
    before.look(DARK, None)
    after.thumbnail, after.since_key = before.thumbnail, before.since_key
    assert looked(after, [DARK, LIGHT]) == [(False, False), (True, True)]


@pytest.mark.parametrize(
    ("scenes", "cuts"),
    [
        ("aaa", []),
        ("aaFaa", []),
        ("aFaFa", []),  # a strobe
        ("aaabbb", [3]),
        ("aaFbbb", [2, 3]),  # a flash between two scenes is a scene of its own
        ("aabbFbb", [2]),
        ("aabF", [2, 3]),  # whether all is as before cannot be seen any more
    ],
)
def test_a_flash_is_no_cut(scenes, cuts):
    pictures = {"a": DARK, "b": GREEN, "F": LIGHT}
    looks = looked(KeyFramePicker(every=1, cut=0.15), [pictures[name] for name in scenes])
    assert [t for t, (cut, _) in enumerate(looks) if cut] == cuts


def test_a_flash_sets_no_key_frame_off():
    looks = looked(KeyFramePicker(every=3, cut=0.15), [DARK] * 4 + [LIGHT] + [DARK] * 4)
    assert [key for _, key in looks] == [t % 3 == 0 for t in range(9)]
