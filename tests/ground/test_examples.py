"""Classes by examples: `like: [picture#x,y,w,h]`."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.examples import Example, asked_texts
from annotate.discover.class_list import class_list_to_yaml, load_prompts
from annotate.errors import ConfigError, PromptError
from annotate.record.asked import deciding
from annotate.runner.job import annotate_dataset
from annotate.runner.plan import plan
from annotate.synthetic.still import draw_still
from tests.ground.making import found, loaded, overrides

BOX = "20,30,40,24"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A class list beside the picture that it shows."""
    Image.fromarray(draw_still(3, (160, 120), min_objects=3).image).save(tmp_path / "shown.png")
    entries = [{"name": "it", "like": [f"shown.png#{BOX}"]}, {"name": "car"},
               {"name": "both", "phrases": ["red circle"], "like": f"shown.png#{BOX}"}]  # fmt: skip
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(entries[:2]))
    return tmp_path


def test_a_class_may_have_examples_alone_or_beside_phrases(folder):
    classes = load_prompts(str(folder / "classes.yaml"))
    it, car = classes.classes
    assert it.phrases == () and it.like == (f"{folder / 'shown.png'}#{BOX}",)
    assert asked_texts(it) == (f"shown.png#{BOX}",)
    assert car.phrases == ("car",) and car.like == ()
    copy = folder / "elsewhere" / "classes.yaml"
    copy.parent.mkdir()
    copy.write_text(class_list_to_yaml(classes))
    assert load_prompts(str(copy)) == classes


@pytest.mark.parametrize(
    ("like", "words"),
    [
        ("shown.png", r"expected PICTURE#x,y,w,h, px of the picture"),
        ("shown.png#1,2,3", r"expected PICTURE#x,y,w,h"),
        ("shown.png#1,2,3,x", r"expected PICTURE#x,y,w,h"),
        ("shown.png#1,2,0,4", r"expected x and y from 0 on, and w and h above 0"),
        ("shown.png#1,2,nan,4", r"expected x and y from 0 on"),
        ("other.png#1,2,3,4", r"no such picture"),
        ({"a": "b"}, r"expected a list of PICTURE#x,y,w,h"),
    ],
)
def test_an_example_that_cannot_be_is_named_with_its_line(folder, like, words):
    (folder / "classes.yaml").write_text(yaml.safe_dump([{"name": "it", "like": like}]))
    with pytest.raises(PromptError, match=rf"classes\.yaml:1: like=.*{words}"):
        load_prompts(str(folder / "classes.yaml"))


def test_a_box_outside_of_its_picture_and_a_picture_that_is_none_are_named(folder):
    for like, words in (("shown.png#500,2,3,4", "lies outside of a picture of 160x120"),
                        ("broken.png#1,2,3,4", "like=.*broken.png#1,2,3,4: ")):  # fmt: skip
        (folder / "broken.png").write_bytes(b"no picture")
        (folder / "classes.yaml").write_text(yaml.safe_dump([{"name": "it", "like": like}]))
        with pytest.raises(PromptError, match=words):
            loaded("owlv2", load_prompts(str(folder / "classes.yaml")))


def test_the_query_is_of_a_patch_whose_box_is_the_examples(folder):
    made = loaded("owlv2", load_prompts(str(folder / "classes.yaml")))
    image = np.asarray(Image.open(folder / "shown.png"))
    with torch.inference_mode():
        patches, _ = made._look([image])
        embedded = made._model.class_predictor(patches)[1][0]
    embedded = embedded / embedded.norm(dim=-1, keepdim=True)
    likeness = embedded @ made._queries[0]
    assert float(likeness.max()) == pytest.approx(1, abs=1e-5)
    # In its own picture nothing is found before the patch that was shown.
    (some,) = found(made, [image])
    mine = some.class_ids == 0
    assert set(np.array(some.phrases)[mine.numpy()]) == {f"shown.png#{BOX}"}
    assert some.scores[mine].max() > 0
    assert len(made.provenance["examples"]) == 64


def test_of_patches_with_one_box_the_least_common_one_is_taken(folder, monkeypatch):
    made = loaded("owlv2", load_prompts(["car"]))
    boxes = torch.tensor([[[0.25, 0.25, 0.5, 0.5]] * 3 + [[0.8, 0.8, 0.1, 0.1]]])
    embedded = torch.tensor([[[1.0, 0], [1, 0.1], [0, 1], [1, 0]]])
    monkeypatch.setattr(made, "_look", lambda images: (torch.zeros(1, 4, 2), boxes))
    monkeypatch.setattr(made._model, "class_predictor", lambda patches: (None, embedded))
    example = Example(folder / "shown.png", (0, 0, 80, 80))
    assert made._exemplified(example).tolist() == [0, 1]


def test_a_grounder_that_is_asked_by_phrases_alone_says_so(folder):
    asked = [f"dataset={folder}", f"prompts={folder / 'classes.yaml'}", "models=tiny"]
    with pytest.raises(ConfigError, match=r"class 'it' has like:, and .*; ground=owlv2"):
        plan(typed(compose(asked, "config"), AnnotateCommand))


def test_where_examples_lie_is_no_part_of_the_fingerprint(folder):
    one = [{"name": "it", "like": [f"/a/shown.png#{BOX}"]}]
    other = [{"name": "it", "like": [f"/b/c/shown.png#{BOX}"]}]
    third = [{"name": "it", "like": ["/a/shown.png#1,2,3,4"]}]
    a, b, c = (deciding({"classes.yaml": {"classes": entries}}) for entries in (one, other, third))
    assert a == b != c


def test_a_whole_run_by_example(folder, tmp_path):
    asked = [
        f"dataset={folder / 'shown.png'}", f"prompts={folder / 'classes.yaml'}",
        f"out={tmp_path / 'run'}", "models=tiny", "device=cpu", "segment=none",
        "contact_sheet=false", *overrides("owlv2"),
    ]  # fmt: skip
    annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    (row,) = pq.read_table(tmp_path / "run" / "records").to_pylist()
    phrases = {i["phrase"] for i in row["instances"] if i["class_id"] == 0}
    assert row["status"] == "ok" and phrases <= {f"shown.png#{BOX}"}
    before = len(row["instances"])
    annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))  # has nothing left to do
    (row,) = pq.read_table(tmp_path / "run" / "records").to_pylist()
    assert len(row["instances"]) == before
