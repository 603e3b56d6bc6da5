"""SigLIP 2 on a small model: what it is shown, what its logits say, and whole runs with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, ModelsCommand
from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.selection import Tally, kept_instances
from annotate.data.types import ClassList, ClassSpec, Instance, Rle
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError, PromptError
from annotate.record.asked import deciding, difference
from annotate.runner.job import annotate_dataset
from annotate.runner.plan import plan
from annotate.synthetic.demo import COMBOS
from annotate.synthetic.still import draw_still
from annotate.verify.base import Verifier
from annotate.verify.crops import crop_of
from annotate.verify.opinions import Opinions
from annotate.verify.siglip2 import _padded, shares_of
from tests.evaluate.squares import still
from tests.verify.made import overrides

CLASSES = load_prompts(["car: car, auto", "dog"])
H, W = 40, 60


def loaded(*more: str, classes: ClassList = CLASSES) -> Verifier:
    made = typed(compose(["device=cpu", *overrides(), *more], "config"), ModelsCommand)
    verifier = made.verifier.make(Verifier)
    verifier.load(classes)
    return verifier


@pytest.fixture(scope="module")
def siglip2() -> Verifier:
    return loaded()


def instance(x0: int, y0: int, x1: int, y1: int, class_id: int = 0) -> Instance:
    mask = np.zeros((1, H, W), bool)
    mask[0, y0:y1, x0:x1] = True
    return Instance(
        "a", class_id, "car", 0.9, tuple(map(float, mask_boxes(mask)[0])),
        Rle(encode_masks(mask)[0], (H, W)), int(mask.sum()), 0.9,
    )  # fmt: skip


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (H, W, 3), dtype=np.uint8)


SOME = (
    instance(5, 5, 30, 20), instance(0, 0, 60, 40, 1), instance(59, 39, 60, 40),
    instance(20, 30, 22, 39, 1),
)  # fmt: skip


def test_what_is_around_the_mask_fades_to_grey():
    image = np.full((H, W, 3), 228, np.uint8)
    crop = crop_of(image, instance(10, 10, 20, 20), room=0.5, outside=0.5)
    assert crop.shape == (20, 20, 3)
    assert (crop[5:15, 5:15] == 228).all() and crop[0, 0].tolist() == [178] * 3
    whole = crop_of(image, instance(10, 10, 20, 20), room=0.5, outside=1)
    assert (whole == 228).all()
    assert crop_of(image, instance(59, 39, 60, 40), room=0, outside=0).shape == (1, 1, 3)


def test_a_class_has_the_share_of_its_best_phrase():
    likeness = torch.tensor([[0.1, 0.5, 0.3, 0.1], [0.0, 0.0, 0.0, 0.0]])
    groups = torch.tensor(_padded([("car", "auto"), ("dog",), ("else",)]))
    assert groups.tolist() == [[0, 1], [2, 4], [3, 4]]
    shares = shares_of(likeness, groups, scale=10)
    expected = torch.tensor([5.0, 3.0, 1.0]).softmax(0)
    torch.testing.assert_close(shares[0], expected)
    assert shares[1].tolist() == pytest.approx([1 / 3] * 3)


def test_opinions_are_those_of_the_librarys_own_processor(siglip2):
    image = picture()
    (opinion,) = siglip2.opinions(image, SOME[:1], 8)
    crop = crop_of(image, SOME[0], room=0.1, outside=0.3)
    texts = ["car", "auto", "dog", "background", "something else"]
    said = [f"a photo of a {text}" for text in texts]
    inputs = siglip2._processor(
        text=said, images=crop, padding="max_length", max_length=64, return_tensors="pt"
    )
    with torch.inference_mode():
        out = siglip2._model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"])
    logits = out.logits_per_image[0] - siglip2._model.logit_bias
    best = torch.stack([logits[:2].max(), *logits[2:]])
    assert opinion == pytest.approx(float(best.softmax(0)[0]), abs=1e-4)


def test_n_at_once_are_n_times_one_and_the_same_again(siglip2):
    image = picture()
    image.setflags(write=False)
    together = siglip2.opinions(image, SOME, 8)
    assert together.shape == (4,) and together.dtype == np.float32
    assert ((together >= 0) & (together <= 1)).all()
    assert np.array_equal(together, siglip2.opinions(image, SOME, 8))
    np.testing.assert_allclose(together, siglip2.opinions(image, SOME, 1), atol=1e-5)
    assert siglip2.opinions(image, (), 8).shape == (0,)


def test_other_classes_leave_nothing_of_those_before(siglip2):
    made = loaded(classes=load_prompts(["dog", "bird: bird, crow", "car"]))
    made.load(CLASSES)
    assert np.array_equal(made.opinions(picture(), SOME, 8), siglip2.opinions(picture(), SOME, 8))


def test_the_pipeline_keeps_the_order_and_everything_else(siglip2):
    given = Opinions(siglip2, 2).given(picture(), SOME)
    assert [replace(i, verified=None) for i in given] == list(SOME)
    assert all(0 <= i.verified <= 1 for i in given)


def test_without_others_a_single_class_is_never_doubted():
    alone = loaded("verify.others=[]", classes=load_prompts(["car"]))
    assert alone.opinions(picture(), SOME[:1], 8).tolist() == [1]
    beside = loaded(classes=load_prompts(["car"]))
    assert beside.opinions(picture(), SOME[:1], 8)[0] < 1


def test_what_cannot_be_read_is_named():
    with pytest.raises(PromptError, match="more than SigLIP 2's 64"):
        loaded(classes=load_prompts(["x" * 70]))
    with pytest.raises(ConfigError, match=r"verify\.template='a photo': needs one \{\}"):
        loaded("verify.template=a photo")


@pytest.mark.parametrize(("verified", "kept"), [(None, True), (0.6, True), (0.4, False)])
def test_a_veto_leaves_out_what_is_doubted_and_counts_it(verified, kept):
    classes = ClassList((ClassSpec("car", ("car",), veto=0.5),))
    tally = Tally()
    doubted = replace(instance(5, 5, 30, 20), verified=verified)
    assert bool(list(kept_instances(still("a", doubted), classes, 0.3, tally))) == kept
    assert tally.left_out == ({} if kept else {"under veto": 1})


def test_a_veto_is_no_part_of_what_decides_records():
    with_veto, without = (
        deciding({"classes.yaml": {"classes": [{"name": "car", **more}]}})
        for more in ({"veto": 0.5}, {})
    )
    assert with_veto == without
    assert load_prompts({"car": {"veto": 0.5}}).classes[0].veto == 0.5
    with pytest.raises(PromptError, match=r"veto=2; expected a number 0\.\.1"):
        load_prompts({"car": {"veto": 2}})


def test_runs_of_before_had_no_second_opinion():
    asked = ["prompts=[a]", "models=tiny"]
    now = plan_of(asked)
    before = {k: v for k, v in now.items() if k != "verify"}
    assert difference(deciding({"config.yaml": before}), deciding({"config.yaml": now})) == ""
    other = plan_of([*asked, *overrides()])
    assert "verify" in difference(deciding({"config.yaml": now}), deciding({"config.yaml": other}))


def plan_of(asked: list[str]) -> dict:
    return plan(typed(compose(["dataset=tests", *asked], "config"), AnnotateCommand)).asked


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stills and a clip of the demo."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("stills/still_00.png", "stills/still_01.png", "clips/clip_00.mp4"):
        shutil.copy(demo / name, folder)
    return folder


def run(data: Path, out: Path, *more: str):
    asked = [
        f"dataset={data}", f"out={out}", "models=tiny", "device=cpu", "video.stride=4",
        "contact_sheet=false", *more,
    ]  # fmt: skip
    annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    return pq.read_table(out / "records").to_pylist()


def test_the_embedded_one_tells_generated_objects_apart(demo):
    """On scenes that it was not trained on, among all 18 kinds of the demo."""
    classes = load_prompts(str(demo / "classes.txt"))
    verifier = typed(compose(["device=cpu", "verify=tiny"], "config"), ModelsCommand)
    verifier = verifier.verifier.make(Verifier)
    verifier.load(classes)
    right, wrong = [], []
    for seed in range(12):
        scene = draw_still(540_000 + seed, (320, 240), combos=COMBOS, min_objects=3)
        for shown in scene.objects:
            own = classes.names.index(shown.phrase)
            (rle,) = encode_masks(shown.mask[None])
            box = tuple(map(float, shown.box_xyxy))
            given = [
                Instance("a", c, "", 1.0, box, Rle(rle, shown.mask.shape), shown.area, 1.0)
                for c in (own, (own + 5) % len(classes))
            ]
            one, other = verifier.opinions(scene.image, given, 8)
            right.append(one)
            wrong.append(other)
    assert np.mean(np.array(right) > 0.5) > 0.8
    assert np.mean(np.array(wrong) < 0.1) > 0.9


def test_a_whole_run_has_opinions_and_its_exports_tell_them(data, demo, tmp_path):
    classes = f"prompts={demo / 'classes.txt'}"
    plain = run(data, tmp_path / "plain", classes)
    rows = run(data, tmp_path / "run", classes, *overrides())
    stills = [i for r in rows if r["media"] == "image" for i in r["instances"]]
    assert stills and all(0 <= i["verified"] <= 1 for i in stills)
    of_track: dict[int, set] = {}
    for row in rows:
        for i in row["instances"] if row["media"] == "video" else ():
            of_track.setdefault(i["track_id"], set()).add(i["verified"])
    assert of_track and all(len(values) == 1 for values in of_track.values())
    for row in rows:
        for i in row["instances"]:
            i["verified"] = None
    assert rows == plain  # nothing else is changed by a second opinion
    coco = json.loads(
        (tmp_path / "run/exports/coco/annotations/instances_default.json").read_text()
    )
    assert all(0 <= a["verified"] <= 1 for a in coco["annotations"])
    assert "siglip" in (tmp_path / "run/weights.yaml").read_text()
    before = run(data, tmp_path / "run", classes, *overrides())
    assert any(i["verified"] is not None for r in before for i in r["instances"])
