from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.config.schema import checked
from annotate.config.settings import SegmentSettings
from annotate.data import geometry
from annotate.data.types import Detections, Frame, Item
from annotate.errors import ConfigError
from annotate.segment.base import Segmenter
from annotate.segment.finishing import Masker
from annotate.segment.upsampling import upsample_masks
from annotate.synthetic.still import draw_still

RULES = SegmentSettings(speck_share=0.005, hole_share=0.005, max_pixels=64_000_000)


def frame_of(image: np.ndarray) -> Frame:
    return Frame(item=Item("a.png", Path("a.png")), image=image)


def boxes_of(scene) -> np.ndarray:
    return np.array([o.box_xyxy for o in scene.objects], np.float32)


def detections(boxes: np.ndarray) -> Detections:
    n = len(boxes)
    return Detections(
        boxes_xyxy=boxes,
        scores=np.linspace(0.9, 0.5, n).astype(np.float32),
        class_ids=np.arange(n, dtype=np.int32),
        phrases=tuple(f"phrase {i}" for i in range(n)),
        margins=np.full(n, 0.3, np.float32),
    )


def test_same_masks_as_sam2s_own_predictor(tiny_sam):
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(tiny_sam.model)
    side = tiny_sam.model.image_size // 4  # the predictor's feature sizes are fixed to 1024 px
    predictor._bb_feat_sizes = [(side, side), (side // 2, side // 2), (side // 4, side // 4)]
    for seed, size in [(1, (256, 256)), (2, (320, 200)), (3, (150, 333))]:
        scene = draw_still(seed, size, min_objects=3)
        boxes = boxes_of(scene)
        predictor.set_image(scene.image)
        theirs, their_ious, _ = predictor.predict(box=boxes, multimask_output=False)
        theirs = theirs.reshape(len(boxes), *scene.image.shape[:2]) > 0
        logits, ious = tiny_sam.decode(tiny_sam.embed(scene.image), torch.from_numpy(boxes))
        ours = upsample_masks(logits, scene.image.shape[:2]).numpy()
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine & other).sum() >= 0.99 * (mine | other).sum()
        np.testing.assert_allclose(ious.numpy(), np.ravel(their_ious), atol=0.02)


def test_masks_fit_the_objects(tiny_segmenter):
    scene = draw_still(11, (320, 240), min_objects=4)
    found = Masker(tiny_segmenter, RULES).refine(frame_of(scene.image), detections(boxes_of(scene)))
    ious = []
    for instance, shown in zip(found, scene.objects, strict=True):
        mask = instance.mask.decode()
        ious.append((mask & shown.mask).sum() / (mask | shown.mask).sum())
    assert np.mean(ious) > 0.75


def test_instances_say_what_their_mask_is(tiny_segmenter):
    scene = draw_still(12, (200, 150), min_objects=3)
    for instance in Masker(tiny_segmenter, RULES).refine(
        frame_of(scene.image), detections(boxes_of(scene))
    ):
        mask = instance.mask.decode()
        assert mask.shape == (150, 200)
        assert instance.area == mask.sum() > 0
        assert instance.box_xyxy == tuple(geometry.mask_boxes(mask[None])[0].tolist())
        assert 0 <= instance.mask_score <= 1
        assert instance.margin == pytest.approx(0.3)


def test_the_detectors_box_is_compared_with_that_of_the_mask(tiny_segmenter):
    scene = draw_still(12, (200, 150), min_objects=3)
    boxes = boxes_of(scene)
    wide = boxes + np.array([-12, -12, 12, 12], np.float32)
    frame, segmenter = frame_of(scene.image), Masker(tiny_segmenter, RULES)
    tight, loose = (segmenter.refine(frame, detections(b)) for b in (boxes, wide))
    for instance, box in zip(loose, wide, strict=True):
        x0, y0 = np.maximum(instance.box_xyxy[:2], box[:2])
        x1, y1 = np.minimum(instance.box_xyxy[2:], box[2:])
        both = (x1 - x0) * (y1 - y0)
        areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (instance.box_xyxy, box)]
        assert instance.box_iou == pytest.approx(both / (sum(areas) - both), abs=1e-4)
    assert np.mean([i.box_iou for i in tight]) > np.mean([i.box_iou for i in loose]) + 0.1


class EmptyFor(Segmenter):
    """A segmenter whose masks come out empty for chosen boxes."""

    def load(self) -> None:
        """It is."""

    def __init__(self, model, empty: set[int]) -> None:
        self._model, self._empty = model, empty

    def embed(self, images):
        return self._model.embed(images)

    def decode(self, embedding, boxes):
        logits, ious = self._model.decode(embedding, boxes)
        logits = logits.clone()
        for row in self._empty:
            logits[row] = -10
        return logits, ious


def test_an_empty_mask_drops_its_instance_and_shifts_nobody(tiny_segmenter):
    scene = draw_still(13, (256, 256), min_objects=5)
    frame, found = frame_of(scene.image), detections(boxes_of(scene))
    whole = Masker(tiny_segmenter, RULES).refine(frame, found)
    holed = Masker(EmptyFor(tiny_segmenter, {0, 2}), RULES).refine(frame, found)
    assert holed == tuple(i for i in whole if i.class_id not in (0, 2))
    assert [i.instance_id for i in holed] == [
        f"a.png:{i}" for i in range(len(found)) if i not in (0, 2)
    ]


def test_boxes_in_groups_give_the_same_instances(tiny_segmenter):
    scene = draw_still(14, (128, 128), min_objects=5)
    frame, found = frame_of(scene.image), detections(boxes_of(scene))
    small = SegmentSettings(speck_share=0.005, hole_share=0.005, max_pixels=2 * 128 * 128)
    assert Masker(tiny_segmenter, small).refine(frame, found) == Masker(
        tiny_segmenter, RULES
    ).refine(frame, found)


def test_nothing_found_costs_nothing():
    segmenter = Masker(None, RULES)  # type: ignore[arg-type]  # never asked
    nothing = detections(np.zeros((0, 4), np.float32))
    assert segmenter.refine(frame_of(np.zeros((8, 8, 3), np.uint8)), nothing) == ()


def test_rules_name_what_is_out_of_range():
    with pytest.raises(ConfigError, match=r"segment\.hole_share=-1: expected 0\.\.1"):
        checked(SegmentSettings, {"speck_share": 0, "hole_share": -1, "max_pixels": 1}, "segment")
