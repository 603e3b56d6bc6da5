"""Masks on the grid where they are compared, without any model."""

import numpy as np
import torch

from annotate.track.observations import GRID, carry, of_rows, on_grid, segment, square
from tests.track.still_memory import NOWHERE, SIDE, StillMemory, detections, drawing

BOX = (16, 8, 48, 40)
PICTURE = np.zeros((SIDE, SIDE, 3), np.uint8)


def test_masks_on_the_grid_have_boxes_in_frame_pixels():
    masks, boxes = on_grid(torch.stack([drawing(BOX), drawing(NOWHERE)]), (2 * SIDE, SIDE))
    assert masks.shape == (2, GRID * GRID)
    np.testing.assert_allclose(boxes, [[16, 16, 48, 80], [0, 0, 0, 0]])
    assert square(masks[0])[40:150, 70:180].all()


def test_no_masks_are_no_masks():
    masks, boxes = on_grid(torch.zeros(0, 1, 1), (SIDE, SIDE))
    assert masks.shape == (0, GRID * GRID) and boxes.shape == (0, 4)


def test_detections_without_a_mask_are_left_out():
    memory = StillMemory()
    said = detections((NOWHERE, 0.9, 0), (BOX, 0.8, 1))
    found = segment(memory, memory.embed(PICTURE), said, PICTURE.shape[:2])
    assert found.scores.tolist() == [np.float32(0.8)] and found.phrases == ["class 1"]
    np.testing.assert_allclose(found.mask_boxes, [BOX])
    seen = found.sighting(0, 7, found.logits[0], 0.5).seen
    assert seen.class_id == 1 and seen.box_xyxy.tolist() == list(BOX)


def test_a_track_that_memory_takes_for_absent_has_an_empty_mask():
    memory = StillMemory({3: {2: NOWHERE}})
    bank = memory.bank(max_anchors=1)
    for track_id in (1, 2):
        bank.anchor(0, [track_id], drawing(BOX)[None, None], torch.zeros(1, 4))
    carried = carry(memory, memory.embed(PICTURE), bank, [1, 2], 3)
    assert carried.shown.tolist() == [True, False]
    absent = of_rows(carried.said, [1])
    assert len(absent) == 1 and float(absent.present[0]) < 0


def test_without_tracks_nothing_is_carried():
    memory = StillMemory()
    carried = carry(memory, memory.embed(PICTURE), memory.bank(max_anchors=1), [], 3)
    assert carried.ids == [] and carried.shown.shape == (0,) and len(carried.said) == 0
