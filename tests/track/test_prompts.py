"""How SAM 2 is told of an object: by points that lie in it, in the pixels that are meant."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from annotate.segment.video import VideoSegmenter
from annotate.synthetic.still import draw_still
from annotate.track.prompts import POINTS, at_side, inner_points, seed

YS, XS = np.mgrid[0:128, 0:128]
FROM_CENTRE = np.hypot(XS - 60, YS - 66)
SHAPES = {
    "disc": FROM_CENTRE < 30,
    "ring": (FROM_CENTRE < 50) & (FROM_CENTRE > 42),
    "horseshoe": (FROM_CENTRE < 50) & (FROM_CENTRE > 38) & (YS < 80),
    "stroke": np.abs(XS - YS) < 2,
    "two parts": (FROM_CENTRE < 20) | ((XS > 100) & (YS > 100)),
    "at the edge": (XS < 9) & (YS > 90),
}


def test_points_lie_inside_the_mask_and_away_from_each_other():
    mask = np.zeros((40, 60), bool)
    mask[5:25, 4:54] = True
    points = inner_points(mask)
    assert points.shape == (POINTS, 2)
    assert all(mask[int(y), int(x)] for x, y in points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert apart[~np.eye(POINTS, dtype=bool)].min() >= 8


def test_the_first_point_is_the_deepest():
    mask = np.zeros((40, 60), bool)
    mask[18:22] = True
    mask[10:31, 20:41] = True
    np.testing.assert_allclose(inner_points(mask)[0], [30, 20])


def test_a_single_pixel_has_points_too():
    mask = np.zeros((8, 8), bool)
    mask[3, 5] = True
    np.testing.assert_allclose(inner_points(mask), [[5, 3]] * POINTS)


@pytest.mark.parametrize("shape", SHAPES)
def test_points_lie_inside_masks_of_any_shape(shape):
    mask = SHAPES[shape]
    for x, y in inner_points(mask):
        assert (x, y) == (int(x), int(y)) and mask[int(y), int(x)]


def test_a_mask_that_vanishes_between_samples_keeps_its_likeliest_pixel():
    logits = torch.full((2, 32, 32), -10.0)
    logits[0, 7, 20] = 0.2
    logits[1, 10:20, 10:20] = 10
    masks = at_side(logits, 128, never_empty=True)
    assert not at_side(logits, 128)[0].any() and torch.equal(masks[1], at_side(logits, 128)[1])
    ys, xs = np.nonzero(masks[0].numpy())
    assert len(xs) and set(ys // 4) == {7} and set(xs // 4) == {20}


def test_the_model_looks_at_the_centre_of_the_pixel_that_is_meant(tiny_segmenter, monkeypatch):
    """What SAM encodes is asked for where it encodes it, in pixels of its square."""
    memory, encoder = VideoSegmenter(tiny_segmenter), tiny_segmenter.memory.model.sam_prompt_encoder
    encode, seen = encoder.pe_layer.forward_with_coords, []

    def noting(points, size):
        seen.append(points)
        return encode(points, size)

    monkeypatch.setattr(encoder.pe_layer, "forward_with_coords", noting)
    embedding = memory.embed(draw_still(3, (200, 150)).image)
    ring = torch.from_numpy(SHAPES["ring"][None]).float()
    small = (memory.side // 4,) * 2
    logits = functional.interpolate(ring[:, None], small, mode="area")[:, 0] * 20 - 10
    seed(memory, embedding, torch.zeros(1, 4), logits, "point")
    looked_at = seen[0][0, :POINTS].numpy()
    np.testing.assert_allclose(looked_at % 1, 0.5)
    mask = at_side(logits, memory.side)[0].numpy()
    meant = inner_points(mask)
    np.testing.assert_allclose(looked_at, meant + 0.5)
    assert all(mask[int(y), int(x)] for x, y in looked_at)


def test_boxes_reach_the_model_as_sam2s_own_predictor_gives_them(tiny_sam):
    from sam2.utils.transforms import SAM2Transforms

    from annotate.segment.sam2.image import box_corners

    side = tiny_sam.model.image_size
    transforms = SAM2Transforms(resolution=side, mask_threshold=0.0)
    boxes = torch.tensor([[10.0, 20.0, 110.0, 95.0], [0.0, 0.0, 200.0, 150.0]])
    theirs = transforms.transform_boxes(boxes, normalize=True, orig_hw=(150, 200))
    corners = box_corners(boxes, tiny_sam.embed(np.zeros((150, 200, 3), np.uint8)), side)
    torch.testing.assert_close(corners, theirs.reshape(-1, 2, 2))
    labels = torch.tensor([[2, 3]] * 2)
    encoded, _ = tiny_sam.model.sam_prompt_encoder((corners, labels), boxes=None, masks=None)
    torch.testing.assert_close(tiny_sam.heads.boxes(corners), encoded, rtol=0, atol=0)
