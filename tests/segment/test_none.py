"""Boxes only: what is recorded of a box is the box."""

from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.data.geometry import decode_masks, encode_box
from annotate.data.types import Frame, Item
from annotate.segment.finishing import Masker
from annotate.segment.none import SIDE, Boxes
from annotate.segment.upsampling import upsample_masks
from tests.segment.test_contract import detections
from tests.settings import SEGMENT

FRAME = Frame(Item("a.png", Path("a.png")), np.zeros((45, 61, 3), np.uint8))


def test_a_record_has_the_detectors_box_to_the_last_digit():
    boxes = torch.tensor([[3.3, 4.7, 30.1, 40.2], [0.0, 0.0, 61.0, 45.0]])
    found = Masker(Boxes(), SEGMENT).refine(FRAME, detections(boxes))
    assert [i.box_xyxy for i in found] == [tuple(row) for row in boxes.tolist()]
    assert [i.area for i in found] == [27 * 35, 61 * 45]
    assert [i.mask.decode().sum() for i in found] == [27 * 35, 61 * 45]
    assert [(i.mask_score, i.box_iou) for i in found] == [(1, 1)] * 2


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0, 0, 6, 4), (0, 0, 6, 4)),
        ((1.5, 0.5, 3.5, 2.5), (1, 0, 3, 2)),  # a centre on the edge is in at the start
        ((1.51, 0.4, 3.49, 2.6), (2, 0, 3, 3)),
        ((2.6, 1.6, 3.1, 2.1), (2, 1, 3, 2)),  # no centre of a pixel lies in it
        ((5.5, 3.5, 6, 4), (5, 3, 6, 4)),
        ((0, 3, 6, 4), (0, 3, 6, 4)),
        ((5, 0, 6, 4), (5, 0, 6, 4)),
    ],
)
def test_the_pixels_of_a_box_are_those_whose_centres_lie_in_it(box, pixels):
    expected = np.zeros((4, 6), bool)
    x0, y0, x1, y1 = pixels
    expected[y0:y1, x0:x1] = True
    counts, area = encode_box(box, (4, 6))
    assert np.array_equal(decode_masks([counts], (4, 6))[0], expected)
    assert area == expected.sum()


def test_what_is_compared_has_the_edges_of_the_box():
    boxes = torch.tensor([[32.0, 16, 96, 48], [0, 0, 128, 64], [100.2, 50, 100.3, 50.1]])
    logits, ious = Boxes().decode((64, 128), boxes)
    assert logits.shape == (3, SIDE, SIDE) and ious.tolist() == [1, 1, 1]
    masks = upsample_masks(logits, (64, 128)).numpy()
    expected = np.zeros((2, 64, 128), bool)
    expected[0, 16:48, 32:96] = True
    expected[1] = True
    assert np.array_equal(masks[:2], expected)
    assert (logits[2] > 0).sum() == 1, "the smallest box is somewhere"
