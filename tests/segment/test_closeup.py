"""Small objects of large pictures: cut from tiles, told as of the whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, TileSettings
from annotate.data import geometry
from annotate.data.types import Detections, Frame, Item, Rle
from annotate.segment.base import Segmenter
from annotate.segment.closeup import CloseUp
from annotate.segment.finishing import Masker
from annotate.synthetic.still import draw_still
from tests.settings import SEGMENT

TILES = TileSettings(size=256, overlap=0.2)


def maskers(name: str) -> tuple[Masker, CloseUp]:
    asked = ["dataset=.", "prompts=[a]", "models=tiny", f"segment={name}"]
    segmenter = typed(compose(asked, "config"), AnnotateCommand).segmenter.make(Segmenter)
    segmenter.load()
    masker = Masker(segmenter, SEGMENT)
    return masker, CloseUp(masker, TILES)


def detections(boxes: np.ndarray) -> Detections:
    n = len(boxes)
    return Detections(
        boxes.astype(np.float32), np.linspace(0.9, 0.5, n, dtype=np.float32),
        np.arange(n, dtype=np.int32) % 3, tuple(f"p{k}" for k in range(n)),
        np.zeros(n, np.float32),
    )  # fmt: skip


def test_everything_is_where_it_was_and_in_the_same_order():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 700, (30, 2))
    boxes = np.concatenate([corners, np.minimum(corners + rng.uniform(4, 300, (30, 2)), 800)], 1)
    frame = Frame(Item("a.png", Path("a.png")), np.zeros((800, 800, 3), np.uint8))
    plain, close = maskers("none")
    expected, found = plain.refine(frame, detections(boxes)), close.refine(frame, detections(boxes))
    assert [i.instance_id for i in found] == [i.instance_id for i in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.mask.size_hw == (800, 800)
        assert (ours.class_id, ours.phrase, ours.score) == (
            theirs.class_id,
            theirs.phrase,
            theirs.score,
        )
        assert np.abs(np.subtract(ours.box_xyxy, theirs.box_xyxy)).max() < 1e-3
        assert (ours.mask.decode() != theirs.mask.decode()).mean() < 1e-3


def test_small_objects_have_better_masks_than_from_the_whole():
    """The tiny segmenter sees pictures at 256 px: of 2,048 px, 16 px are 2."""
    canvas = np.full((2048, 2048, 3), 128, np.uint8)
    truth, boxes = [], []
    for n in range(12):
        scene = draw_still(500 + n, (96, 96), combos=[("red", "circle")], max_objects=1)
        x, y = 100 + n % 4 * 500, 150 + n // 4 * 600
        canvas[y : y + 96, x : x + 96] = scene.image
        for thing in scene.objects:
            mask = np.zeros((2048, 2048), bool)
            mask[y : y + 96, x : x + 96] = thing.mask
            rows, columns = np.nonzero(mask)
            truth.append(mask)
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    frame = Frame(Item("a.png", Path("a.png")), canvas)
    plain, close = maskers("tiny")

    def quality(masker: Masker | CloseUp) -> float:
        ious = np.zeros(len(truth))
        for instance in masker.refine(frame, detections(np.array(boxes))):
            row = int(instance.instance_id.rpartition(":")[2])
            mask = instance.mask.decode()
            ious[row] = (mask & truth[row]).sum() / (mask | truth[row]).sum()
        return float(ious.mean())

    assert quality(close) > quality(plain) + 0.1
    assert quality(close) > 0.7


def test_masks_that_the_grounder_found_are_taken_as_they_are():
    boxes = np.array([[10, 10, 60, 60], [100, 20, 160, 90], [20, 100, 40, 130]])
    found = detections(boxes)
    mask = np.zeros((1, 200, 200), bool)
    mask[0, 25:80, 105:150] = True
    nothing = Rle(geometry.encode_masks(mask & False)[0], (200, 200))
    given = (None, Rle(geometry.encode_masks(mask)[0], (200, 200)), nothing)
    frame = Frame(Item("a.png", Path("a.png")), np.zeros((200, 200, 3), np.uint8))
    plain, _ = maskers("none")
    own, theirs = plain.refine(frame, replace(found, masks=given))
    assert own == plain.refine(frame, found)[0]
    assert (theirs.mask, theirs.area, theirs.mask_score) == (given[1], 55 * 45, 1.0)
    assert theirs.box_xyxy == (105, 25, 150, 80) and theirs.instance_id.endswith(":1")
