"""How SAM 2 is told of an object, without any model."""

import numpy as np

from annotate.track.prompts import POINTS, inner_points


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
    np.testing.assert_allclose(inner_points(mask)[0], [30.5, 20.5])


def test_a_single_pixel_has_points_too():
    mask = np.zeros((8, 8), bool)
    mask[3, 5] = True
    np.testing.assert_allclose(inner_points(mask), [[5.5, 3.5]] * POINTS)
