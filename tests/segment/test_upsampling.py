"""Masks made inside their objects' boxes are those of whole frames, pixel for pixel."""

import numpy as np
import pytest
import torch

from annotate.data import geometry
from annotate.segment.finishing import cut_masks
from annotate.segment.upsampling import NOTHING, crops, is_simple, upsample_masks
from tests.settings import SEGMENT


def logits_of(seed: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """Rough or smooth ones, and a frame that is larger or smaller."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(1, 60, 2).tolist()
    logits = torch.from_numpy(rng.normal(-0.5, 1, (4, *sides)).astype(np.float32))
    for _ in range(seed % 5):
        logits = torch.nn.functional.avg_pool2d(logits[None], 3, 1, 1)[0]
    return logits - logits.mean() * 0.5, tuple(rng.integers(1, 250, 2).tolist())


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_cuts_equal_those_of_whole_masks(first):
    compared = 0
    for seed in range(first, first + 20):
        logits, size_hw = logits_of(seed)
        whole = upsample_masks(logits, size_hw).numpy()
        cuts = dict(cut_masks(logits, size_hw, SEGMENT))
        for row, mask in enumerate(whole):
            geometry.clean_mask(mask, SEGMENT.speck_share, SEGMENT.hole_share)
            if not mask.any():
                assert row not in cuts
                continue
            compared += 1
            assert cuts[row].mask.counts == geometry.encode_masks(mask[None])[0]
            assert cuts[row].box_xyxy == tuple(geometry.mask_boxes(mask[None])[0].tolist())
            assert cuts[row].area == mask.sum()
    assert compared > 40


def test_no_more_than_the_object_is_made():
    logits = torch.full((1, 256, 256), -5.0)
    logits[0, 100:110, 50:70] = 5
    (crop,) = crops(logits, range(1), (2160, 3840))
    h, w = crop.mask.shape
    assert h * w < 0.01 * 2160 * 3840
    x, y = crop.corner_xy
    assert 45 * 15 < x < 51 * 15 and 95 * 2160 / 256 < y < 101 * 2160 / 256
    assert crop.is_clean


def test_what_is_nowhere_costs_nothing():
    assert [*crops(torch.full((2, 9, 9), -1.0), range(2), (50, 50))] == [NOTHING, NOTHING]
    between = torch.full((1, 256, 256), -9.0)
    between[0, 2, 2] = 0.1  # between the pixels of a frame of 8 x 8
    (crop,) = crops(between, range(1), (8, 8))
    assert not crop.mask.any()


@pytest.mark.parametrize(
    ("rows", "simple"),
    [
        (["111", "111"], True),
        (["101", "111"], True),  # open to the outside
        (["111", "101", "111"], False),  # a hole
        (["110", "001"], False),  # two parts, which touch at a corner only
        (["1110", "1010", "1101"], False),  # a hole but for a corner
        (["1"], True),
    ],
)
def test_one_part_without_holes(rows, simple):
    assert is_simple(np.array([[c == "1" for c in row] for row in rows])) == simple


def test_a_frame_smaller_than_the_logits_is_looked_at_for_specks():
    """Leaving samples out, it may leave out what joins two parts."""
    (crop,) = crops(torch.ones(1, 64, 64), range(1), (20, 20))
    assert not crop.is_clean and crop.mask.all()
