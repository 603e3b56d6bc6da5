"""Every mask comes back from its polygons: exactly, or nearly so when simplified."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from annotate.data.geometry import encode_masks
from annotate.data.polygons import INSET_PX, coco_polygons, joined_ring
from annotate.data.types import Rle
from tests.exporters.shapes import SHAPES, XX, YY, H, W


def random_masks() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(7)
    for _ in range(150):
        h, w = rng.integers(1, 30, 2)
        mask = rng.random((h, w)) < rng.choice([0.1, 0.4, 0.6, 0.9])
        if mask.any():
            yield mask


def random_blobs() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(8)
    for _ in range(60):
        noise = cv2.GaussianBlur(rng.standard_normal((H, W)), (0, 0), rng.uniform(1.5, 15))
        yield noise > np.quantile(noise, rng.uniform(0.3, 0.98))


def to_rle(mask: np.ndarray) -> Rle:
    return Rle(encode_masks(mask[None])[0], mask.shape)


def paint_coco(polygons: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *shape))) > 0


def paint_ultralytics(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As ultralytics.data: float32 shares of the sides, then `polygon2mask`."""
    h, w = shape
    shares = np.array([f"{v:.6f}" for v in (ring / [w, h]).ravel()], np.float32).reshape(-1, 2)
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [(shares * np.array([w, h], np.float32)).astype(np.int32)], color=1)
    return mask > 0


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def parts_of(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_come_back(name: str) -> None:
    mask = SHAPES[name]
    rle = to_rle(mask)
    assert (paint_coco(coco_polygons(rle, 0.0), mask.shape) == mask).all()
    for tolerance in (0.5, 1.0, 2.0):
        polygons = coco_polygons(rle, tolerance)
        assert len(polygons) == parts_of(mask)
        assert min(map(len, polygons)) >= 6
        painted = paint_coco(polygons, mask.shape)
        assert (painted == mask).all() if mask.sum() < 100 else iou(painted, mask) >= 0.97


def test_random_masks_come_back_exactly() -> None:
    for mask in random_masks():
        polygons = coco_polygons(to_rle(mask), 0.0)
        assert (paint_coco(polygons, mask.shape) == mask).all()


def test_blobs_with_holes_and_parts_keep_their_iou() -> None:
    ious = [
        iou(paint_coco(coco_polygons(to_rle(mask), 1.0), mask.shape), mask)
        for mask in random_blobs()
    ]
    assert min(ious) >= 0.97
    assert np.mean(ious) >= 0.975


def test_a_coarser_tolerance_needs_fewer_points() -> None:
    rle = to_rle(SHAPES["donut"])
    points = [len(coco_polygons(rle, tolerance)[0]) for tolerance in (0.0, 0.5, 1.0)]
    assert points == sorted(points, reverse=True)
    assert points[2] < points[0] / 5


def test_a_square_has_four_corners() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:18, 4:25] = True
    corners = np.array(coco_polygons(to_rle(mask), 1.0)).reshape(-1, 2).tolist()
    assert sorted(corners) == [[4, 5], [4, 18], [25, 5], [25, 18]]


@pytest.mark.parametrize("name", SHAPES)
def test_joined_rings_come_back_as_ultralytics_paints_them(name: str) -> None:
    mask = SHAPES[name]
    ring, kept = joined_ring(to_rle(mask), 0.0)
    painted = paint_ultralytics(ring, mask.shape)
    assert len(ring) >= 4
    assert (ring >= 0).all()
    assert (ring <= [W, H]).all()
    assert painted[mask].all()
    assert kept == pytest.approx(iou(painted, mask))
    if parts_of(mask) == 1:
        assert (painted == mask).all()
    simple = paint_ultralytics(joined_ring(to_rle(mask), 1.0)[0], mask.shape)
    assert iou(simple, mask) >= min(0.97, iou(painted, mask) - 0.0101)


def test_joined_rings_of_blobs_keep_their_iou() -> None:
    whole = []
    for mask in random_blobs():
        exact, simple = (
            iou(paint_ultralytics(joined_ring(to_rle(mask), tolerance)[0], mask.shape), mask)
            for tolerance in (0.0, 1.0)
        )
        # Bridges between parts cannot be hidden; simplifying must add next to nothing to them.
        assert simple >= min(0.97, exact - 0.0101)
        if parts_of(mask) == 1:
            whole.append(simple)
    assert min(whole) >= 0.97


def test_a_joined_ring_spans_the_box_of_its_mask() -> None:
    ring, _ = joined_ring(to_rle(SHAPES["three parts"]), 0.0)
    rows, cols = (np.flatnonzero(SHAPES["three parts"].any(axis)) for axis in (1, 0))
    box = [cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]
    assert np.abs(np.concatenate([ring.min(0), ring.max(0)]) - box).max() <= INSET_PX + 1e-9


def test_a_joined_ring_stays_below_what_ultralytics_resamples() -> None:
    wave = np.abs(YY - 60 - 30 * np.sin(XX / 3.0)) < 8
    large = cv2.resize(wave.astype(np.uint8), None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
    ring, _ = joined_ring(to_rle(large > 0), 0.5)
    assert len(ring) < 1000
