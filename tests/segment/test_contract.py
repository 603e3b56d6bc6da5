"""What every segmenter keeps, on small models of the real classes: those of tests/segment/made."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Detections, Frame, Item
from annotate.models.memory_limit import MemoryLimit
from annotate.runner.job import annotate_dataset
from annotate.segment.finishing import Masker, decode
from tests.segment.making import NAMES, fresh, overrides, segmenter
from tests.settings import SEGMENT

BOXES = torch.tensor([[3.0, 4, 30, 40], [10, 10, 50, 44], [0, 0, 61, 45], [20.2, 7.9, 23.1, 9.4]])
EVERY = pytest.mark.parametrize("name", NAMES)


def picture(h: int = 45, w: int = 61, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (h, w, 3), dtype=np.uint8)


def test_all_that_this_room_has_are_here():
    assert NAMES == ["edgetam", "none", "sam", "sam2", "sam2_transformers", "sam_hq"]


@EVERY
def test_making_one_costs_nothing_and_loading_says_where_it_comes_from(name):
    made = fresh(name)
    assert made.memory is None
    known = segmenter(name)
    assert known.provenance["model"] and len(known.provenance["sha256"]) == 64
    assert (known.memory is not None) == known.has_memory == (name == "sam2")


@EVERY
@pytest.mark.parametrize("size_hw", [(45, 61), (61, 45), (64, 64), (7, 200), (1, 1), (301, 33)])
def test_one_mask_and_one_estimate_a_box_over_the_whole_picture(name, size_hw):
    known = segmenter(name)
    h, w = size_hw
    (embedding,) = known.embed([picture(h, w)])
    boxes = BOXES * torch.tensor([w / 61, h / 45, w / 61, h / 45])
    logits, ious = known.decode(embedding, boxes)
    assert logits.shape[0] == len(ious) == 4 and logits.ndim == 3 and min(logits.shape[1:]) >= 1
    assert logits.dtype == ious.dtype == torch.float32
    assert torch.isfinite(logits).all() and (ious >= 0).all() and (ious <= 1).all()


@EVERY
def test_the_same_again_and_n_at_once_as_n_times_one(name):
    known = segmenter(name)
    pictures = [picture(seed=seed) for seed in (0, 1)]
    alone = [known.embed([image])[0] for image in pictures]
    for one, other in zip(alone, known.embed(pictures), strict=True):
        logits, ious = known.decode(one, BOXES)
        again, ious_again = known.decode(other, BOXES)
        assert torch.equal(logits, again) and torch.equal(ious, ious_again)
        for row in range(4):
            single, iou = known.decode(one, BOXES[row : row + 1])
            torch.testing.assert_close(single[0], logits[row], atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(iou[0], ious[row], atol=1e-4, rtol=1e-4)


@EVERY
def test_boxes_that_come_in_chunks_keep_their_order(name):
    known = segmenter(name)
    (embedding,) = known.embed([picture()])
    whole, _ = known.decode(embedding, BOXES)
    limit = MemoryLimit("boxes")
    limit._most = 1
    chunked, _ = decode(known, embedding, BOXES, limit)
    assert limit._most == 1
    torch.testing.assert_close(chunked, whole, atol=2e-4, rtol=1e-4)


@EVERY
def test_pictures_that_may_not_be_written_are_taken(name):
    image = picture()
    image.setflags(write=False)
    before = image.copy()
    segmenter(name).embed([image])
    assert np.array_equal(image, before)


@EVERY
def test_no_boxes_are_no_instances(name):
    masker = Masker(segmenter(name), SEGMENT)
    frame = Frame(Item("a.png", Path("a.png")), picture())
    assert masker.refine(frame, detections(BOXES[:0])) == ()


@EVERY
def test_instances_have_masks_of_the_frame_and_keep_class_and_score(name):
    frame = Frame(Item("a.png", Path("a.png")), picture())
    found = Masker(segmenter(name), SEGMENT).refine(frame, detections(BOXES))
    assert found
    for instance in found:
        row = int(instance.instance_id.removeprefix("a.png:"))
        assert instance.class_id == row and instance.phrase == f"phrase {row}"
        mask = instance.mask.decode()
        assert mask.shape == (45, 61) and mask.sum() == instance.area > 0
        assert 0 <= instance.mask_score <= 1


def detections(boxes: torch.Tensor) -> Detections:
    n = len(boxes)
    return Detections(
        boxes_xyxy=boxes.numpy(),
        scores=np.linspace(0.9, 0.5, n).astype(np.float32),
        class_ids=np.arange(n, dtype=np.int32),
        phrases=tuple(f"phrase {i}" for i in range(n)),
        margins=np.full(n, 0.3, np.float32),
    )


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stills and a clip of the demo."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("stills/still_00.png", "stills/still_01.png", "clips/clip_00.mp4"):
        shutil.copy(demo / name, folder)
    return folder


@EVERY
def test_a_whole_run_has_stills_a_clip_and_exports(name, data, demo, tmp_path):
    asked = [
        f"dataset={data}", f"prompts={demo / 'classes.txt'}", f"out={tmp_path / 'run'}",
        "models=tiny", "device=cpu", "video.stride=6", "contact_sheet=false", *overrides(name),
    ]  # fmt: skip
    annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    rows = pq.read_table(tmp_path / "run" / "records").to_pylist()
    assert {row["status"] for row in rows} == {"ok"}
    stills = [row for row in rows if row["media"] == "image"]
    clip = [row for row in rows if row["media"] == "video"]
    assert len(stills) == 2 and len(clip) > 4
    assert any(row["instances"] for row in stills) and any(row["instances"] for row in clip)
    for row in clip:
        ids = [i["track_id"] for i in row["instances"]]
        assert len(ids) == len(set(ids)) and 0 not in ids
    coco = tmp_path / "run/exports/coco/annotations/instances_default.json"
    assert len(json.loads(coco.read_text())["images"]) == len(rows)
    labels = tmp_path / "run/exports/yolo_seg/labels"
    assert len(list(labels.rglob("*.txt"))) == len(rows)
