"""What every grounder keeps, on small models of the real classes: those of tests/ground/made."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.config.shipped import conf_dir
from annotate.data.types import ClassList, ClassSpec
from annotate.ground.select import Detector
from annotate.runner.job import annotate_dataset
from tests.ground.detectors import RULES, frames
from tests.ground.making import CLASSES, NAMES, found, fresh, grounder, loaded, overrides, picture

EVERY = pytest.mark.parametrize("name", NAMES)
CLOUD = {"dino_x", "grounding_dino_api"}
SAME_CLASS = {"llmdet": "grounding_dino", "grounding_dino": "tiny"}  # as another one, with weights


def test_every_grounder_that_ships_is_here():
    shipped = {p.stem for p in (conf_dir() / "ground").glob("*.yaml")}
    presets = {"fast", "balanced", "best"}
    assert shipped - presets - SAME_CLASS.keys() == set(NAMES)


@EVERY
def test_making_one_costs_nothing_and_loading_says_where_it_comes_from(name):
    made = fresh(name)
    assert made.has_scores == (name not in ("florence2",))
    known = grounder(name)
    assert known.provenance["model"]
    members = known.provenance.get("members", {"": known.provenance})
    if name not in CLOUD:
        assert all(len(member["sha256"]) == 64 for member in members.values())
    yaml.safe_dump(dict(known.provenance))  # into the run's record


@EVERY
@pytest.mark.parametrize("size_hw", [(45, 61), (61, 45), (64, 64), (7, 200), (301, 33), (1, 1)])
def test_one_class_one_phrase_and_one_score_a_box(name, size_hw):
    (some,) = found(grounder(name), [picture(*size_hw)])
    boxes = torch.as_tensor(some.boxes_xyxy)
    scores = torch.as_tensor(some.scores)
    class_ids = torch.as_tensor(some.class_ids).tolist()
    assert boxes.shape == (len(scores), 4) and len(class_ids) == len(some.phrases) == len(scores)
    assert boxes.is_floating_point() and scores.is_floating_point()
    assert torch.isfinite(boxes).all() and (scores >= 0).all() and (scores <= 1).all()
    for class_id, phrase in zip(class_ids, some.phrases, strict=True):
        assert phrase in CLASSES.classes[class_id].phrases
    if some.masks is not None:
        assert len(some.masks) == len(scores)
        assert {m.size_hw for m in some.masks if m is not None} <= {size_hw}
    (kept,) = Detector(grounder(name), RULES).find(frames(picture(*size_hw)))
    h, w = size_hw
    assert (kept.boxes_xyxy >= 0).all() and (kept.boxes_xyxy <= [w, h, w, h]).all()
    assert (kept.boxes_xyxy[:, 2:] > kept.boxes_xyxy[:, :2]).all()
    assert kept.boxes_xyxy.dtype == kept.scores.dtype == np.float32


@EVERY
def test_boxes_are_pixels_of_the_picture_whatever_its_size(name):
    """Of a picture and of one twice as large, boxes are alike but for the factor."""
    if name in ("boxes", *CLOUD):
        return  # they were given pixels
    small = np.kron(picture(24, 32), np.ones((2, 2, 1), np.uint8))
    large = np.kron(small, np.ones((2, 2, 1), np.uint8))
    one, other = (found(grounder(name), [image])[0] for image in (small, large))
    spread = [float(torch.as_tensor(some.boxes_xyxy).float().amax()) for some in (one, other)]
    assert spread[1] == pytest.approx(2 * spread[0], rel=0.35)


@EVERY
def test_the_same_again_and_n_at_once_as_n_times_one(name):
    made = grounder(name)
    images = [picture(seed=seed) for seed in (0, 1)]
    together = found(made, images)
    again = found(made, images)
    for n, image in enumerate(images):
        (alone,) = found(made, [image])
        same(together[n], again[n], atol=0)
        same(together[n], alone, atol=2e-3)


def same(one, other, *, atol: float) -> None:
    assert list(one.phrases) == list(other.phrases)
    assert torch.as_tensor(one.class_ids).tolist() == torch.as_tensor(other.class_ids).tolist()
    for key in ("boxes_xyxy", "scores"):
        torch.testing.assert_close(
            torch.as_tensor(getattr(one, key)), torch.as_tensor(getattr(other, key)),
            atol=atol, rtol=0,
        )  # fmt: skip


@EVERY
def test_pictures_that_may_not_be_written_are_taken(name):
    image = picture()
    image.setflags(write=False)
    before = image.copy()
    found(grounder(name), [image])
    assert np.array_equal(image, before)


@EVERY
def test_where_nothing_reaches_the_floor_there_is_nothing(name):
    made = grounder(name)
    floor = 1.01 if made.has_scores else 0.0
    blank = np.zeros((45, 61, 3), np.uint8)
    detector = Detector(made, RULES)
    if made.has_scores:
        (some,) = found(made, [blank], floor)
        keep = torch.as_tensor(some.scores) >= floor
        assert not keep.any()
    (kept,) = detector.find(frames(blank))
    assert kept.boxes_xyxy.shape == (len(kept), 4)
    assert (kept.boxes_xyxy >= 0).all() and (kept.boxes_xyxy <= [61, 45, 61, 45]).all()


@EVERY
def test_of_many_classes_none_is_lost(name):
    """As far as a model's random weights can tell; see test_many_classes for one that knows."""
    if name in ("boxes", *CLOUD):
        return  # tests of their own ask them for long lists, which their answers must fit
    classes = ClassList(
        (*(ClassSpec(f"more {n}", (f"thing {n}",)) for n in range(90)),
         ClassSpec("last", ("blue square",)))
    )  # fmt: skip
    (some,) = found(loaded(name, classes), [picture()])
    ids = set(torch.as_tensor(some.class_ids).tolist())
    assert 90 in ids and max(ids) == 90
    if name not in ("florence2",):
        assert len(ids) == 91


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stills and a clip of the demo."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("stills/still_00.png", "stills/still_01.png", "clips/clip_00.mp4"):
        shutil.copy(demo / name, folder)
    return folder


@EVERY
def test_a_whole_run_has_stills_a_clip_and_exports(name, data, tmp_path):
    asked = [
        f"dataset={data}", "prompts=[red circle,blue square]", f"out={tmp_path / 'run'}",
        "models=tiny", "device=cpu", "video.stride=12", "segment=none", "contact_sheet=false",
        *overrides(name),
    ]  # fmt: skip
    if name == "boxes":
        asked[1] = "prompts=[red disc,blue square]"
    annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    rows = pq.read_table(tmp_path / "run" / "records").to_pylist()
    assert {row["status"] for row in rows} == {"ok"}
    assert sum(row["media"] == "image" for row in rows) == 2 and len(rows) > 4
    coco = tmp_path / "run/exports/coco/annotations/instances_default.json"
    written = json.loads(coco.read_text())
    assert len(written["images"]) == len(rows)
    names = {image["id"]: image for image in written["images"]}
    for annotation in written["annotations"]:
        (x, y, w, h), image = annotation["bbox"], names[annotation["image_id"]]
        assert x >= 0 and y >= 0 and x + w <= image["width"] and y + h <= image["height"]
    labels = tmp_path / "run/exports/yolo_seg/labels"
    assert len(list(labels.rglob("*.txt"))) == len(rows)


@EVERY
def test_other_classes_leave_nothing_of_those_before(name):
    """A page that stays open asks the same model for one class list after the other."""
    made, (first, second) = loaded(name, CLASSES), CLASSES.classes
    images = [picture(64, 64)]
    for other in (ClassList((second, first)), ClassList((second,))):
        made.load(other)
        (asked,), (fresh_one,) = found(made, images), found(loaded(name, other), images)
        same(asked, fresh_one, atol=0)
    made.load(CLASSES)
    same(found(made, images)[0], found(grounder(name), images)[0], atol=0)
