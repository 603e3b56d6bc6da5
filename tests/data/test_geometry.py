import numpy as np
import pytest
from pycocotools import mask as coco_mask

from annotate.data import geometry


def some_masks() -> np.ndarray:
    rng = np.random.default_rng(1)
    masks = rng.random((5, 37, 53)) > 0.6
    masks[1] = False
    masks[2] = True
    masks[3] = False
    masks[3, 36, 52] = True
    return masks


def test_rle_round_trip_is_exact():
    masks = some_masks()
    counts = geometry.encode_masks(masks)
    assert np.array_equal(geometry.decode_masks(counts, (37, 53)), masks)


def test_rle_is_what_pycocotools_writes():
    for mask, counts in zip(some_masks(), geometry.encode_masks(some_masks()), strict=True):
        assert coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))["counts"] == counts.encode()


def test_no_masks():
    assert geometry.encode_masks(np.zeros((0, 4, 5), bool)) == []
    assert geometry.decode_masks([], (4, 5)).shape == (0, 4, 5)
    assert geometry.mask_boxes(np.zeros((0, 4, 5), bool)).shape == (0, 4)


def test_boxes_are_tight_and_half_open():
    masks = np.zeros((3, 10, 20), bool)
    masks[0, 2:5, 7:11] = True
    masks[1, 9, 19] = True
    boxes = geometry.mask_boxes(masks)
    assert boxes.tolist() == [[7, 2, 11, 5], [19, 9, 20, 10], [0, 0, 0, 0]]
    assert np.array_equal(
        geometry.mask_boxes(some_masks())[2], np.array([0, 0, 53, 37], np.float32)
    )


def blob() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[5:35, 5:45] = True  # 1200 px
    return mask


@pytest.mark.parametrize(("size", "stays"), [(2, False), (4, True)])
def test_specks_below_the_share_go(size, stays):
    mask = blob()
    mask[10 : 10 + size, 50 : 50 + size] = True  # 4 px: 0.3 %; 16 px: 1.3 %
    geometry.clean_mask(mask, 0.01, 0.01)
    assert mask[:, 48:].any() == stays
    assert mask[:, :48].sum() == blob().sum()


@pytest.mark.parametrize(("size", "stays"), [(2, False), (4, True)])
def test_pin_holes_below_the_share_are_filled(size, stays):
    mask = blob()
    mask[20 : 20 + size, 20 : 20 + size] = False
    geometry.clean_mask(mask, 0.01, 0.01)
    assert (not mask[20, 20]) == stays


def test_a_bay_open_to_the_outside_is_no_hole():
    mask = blob()
    mask[5:8, 20] = False
    geometry.clean_mask(mask, 0.01, 0.01)
    assert not mask[5:8, 20].any()


def test_the_largest_part_always_stays():
    mask = np.zeros((10, 10), bool)
    mask[::2, ::2] = True  # 25 parts of one pixel, each below the share
    geometry.clean_mask(mask, 0.9, 0.9)
    assert mask.sum() == 1


def test_nothing_happens_at_share_zero_nor_to_empty_and_full_masks():
    for mask in (some_masks()[0], np.zeros((5, 5), bool), np.ones((5, 5), bool)):
        cleaned = mask.copy()
        geometry.clean_mask(cleaned, 0, 0)
        assert np.array_equal(cleaned, mask)


def test_parts_touch_by_corners():
    mask = blob()
    mask[35:37, 45:47] = True  # 4 px: a speck, if it were a part of its own
    whole = mask.copy()
    geometry.clean_mask(mask, 0.01, 0.01)
    assert np.array_equal(mask, whole)


def test_holes_do_not_touch_by_corners():
    mask = blob()
    mask[20:23, 20:23] = mask[23:26, 23:26] = False  # 9 px each; both together are no pin-hole
    mask[5:7, 30:32] = False  # a bay,
    mask[7:9, 32:34] = False  # and a hole at its corner, which does not open to it
    geometry.clean_mask(mask, 0.01, 0.01)
    bay = blob()
    bay[5:7, 30:32] = False
    assert np.array_equal(mask, bay)


def test_run_lengths_that_fill_their_frame_are_right_and_others_are_not():
    masks = np.random.default_rng(0).random((20, 13, 17)) < 0.4
    masks[0], masks[1] = False, True
    for counts in geometry.encode_masks(masks):
        assert geometry.wrong_run_lengths(counts, (13, 17)) == ""
        assert "sum to 221 px, not 17 x 14" in geometry.wrong_run_lengths(counts, (17, 14))
        for other in (counts[:-1], counts + "1", counts + "P", counts + "\0"):
            assert geometry.wrong_run_lengths(other, (13, 17)) != ""
    for odd in ("", "o", "ooooooooo", "oooooooo0", "é", "\x00", "~", " ", "OO"):
        assert geometry.wrong_run_lengths(odd, (13, 17)) != ""


def test_a_part_of_a_frame_is_placed_without_a_picture():
    rng = np.random.default_rng(1)
    for n in range(60):
        frame_hw = tuple(int(v) for v in rng.integers(8, 60, 2))
        h, w = (int(rng.integers(1, side + 1)) for side in frame_hw)
        h = frame_hw[0] if n % 5 == 0 else h  # as high as the frame: runs go on over columns
        y, x = int(rng.integers(0, frame_hw[0] - h + 1)), int(rng.integers(0, frame_hw[1] - w + 1))
        mask = rng.random((h, w)) < (0, 0.1, 0.5, 0.9, 1)[n % 5 if n % 7 else 0]
        whole = np.zeros(frame_hw, bool)
        whole[y : y + h, x : x + w] = mask
        (counts,) = geometry.encode_masks(mask[None])
        (expected,) = geometry.encode_masks(whole[None])
        assert geometry.placed(counts, (h, w), (x, y), frame_hw) == expected


@pytest.mark.parametrize("seed", range(40))
def test_run_lengths_of_a_part_are_those_of_its_frame(seed):
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 40, 2)
    y0, x0 = rng.integers(0, h), rng.integers(0, w)
    y1, x1 = rng.integers(y0 + 1, h + 1), rng.integers(x0 + 1, w + 1)
    if seed % 4 == 0:
        y0, y1 = 0, h  # runs that go on in the next column
    frame = np.zeros((h, w), bool)
    frame[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < rng.random()
    part = frame[y0:y1, x0:x1]
    assert geometry.encode_crop(part, (x0, y0), (h, w)) == geometry.encode_masks(frame[None])[0]
