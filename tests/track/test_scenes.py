"""Cuts and key frames, without any model."""

import numpy as np

from annotate.track.scenes import KeyFramePicker, is_cut, thumbnail

DARK, LIGHT = (np.full((48, 64, 3), value, np.uint8) for value in (20, 220))


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
    looks = [key_frames.look(image) for image in [DARK] * 5 + [LIGHT] * 4]
    assert [cut for cut, _ in looks] == [False] * 5 + [True] + [False] * 3
    assert [key for _, key in looks] == [t in (0, 3, 5, 8) for t in range(9)]


def test_they_go_on_from_where_others_were():
    before, after = (KeyFramePicker(every=3, cut=0.15) for _ in range(2))
    before.look(DARK)
    after.thumbnail, after.since_key = before.thumbnail, before.since_key
    assert [after.look(image) for image in (DARK, LIGHT)] == [(False, False), (True, True)]
