"""SAM 3 on a small model, against the library's own processor."""

from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.data.types import ClassList, ClassSpec
from annotate.errors import PromptError
from annotate.ground.base import Grounder
from annotate.ground.sam3.concepts import Masks, _Found, _outscoring
from annotate.synthetic.still import draw_still
from tests.ground.made.sam3 import overrides

CLASSES = ClassList((ClassSpec("car", ("car", "auto")), ClassSpec("dog", ("dog",))))


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> list[str]:
    return ["models=tiny", "device=cpu", *overrides(tmp_path_factory.mktemp("sam3"))]


def made(asked: list[str], classes: ClassList) -> Grounder:
    grounder = typed(compose(asked, "config"), ModelsCommand).grounder.make(Grounder)
    grounder.load(classes)
    return grounder


@pytest.fixture(scope="module")
def sam3(asked) -> Grounder:
    return made(asked, CLASSES)


@pytest.mark.parametrize("size_wh", [(160, 90), (61, 133)])
def test_boxes_scores_and_masks_are_those_of_the_librarys_own_processor(sam3, size_wh):
    image = draw_still(3, size_wh, min_objects=3).image
    model, processor = sam3._concepts._model, sam3._concepts._processor
    with torch.inference_mode():
        inputs = processor(images=image, text="car", return_tensors="pt")
        out = model(**{k: v for k, v in inputs.items() if k != "original_sizes"})
        floor = float((out.pred_logits.sigmoid() * out.presence_logits.sigmoid()).median()) - 1e-6
        (theirs,) = processor.post_process_instance_segmentation(
            out, threshold=floor, target_sizes=[image.shape[:2]]
        )
    (found,) = sam3.find([image], floor)
    rows = [row for row, phrase in enumerate(found.phrases) if phrase == "car"]
    assert len(rows) == len(theirs["scores"]) > 3
    torch.testing.assert_close(found.scores[rows], theirs["scores"], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boxes_xyxy[rows], theirs["boxes"], atol=1e-2, rtol=0)
    for row, mask in zip(rows, theirs["masks"], strict=True):
        other, mine = mask.numpy().astype(bool), found.masks[row].decode()
        assert mine.shape == image.shape[:2]
        assert (mine & other).sum() >= 0.99 * (mine | other).sum()


def test_every_phrase_is_asked_of_a_picture_that_is_encoded_once(sam3, monkeypatch):
    calls = []
    encoder = sam3._concepts._model.vision_encoder
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *a, **k: (calls.append(1), forward(*a, **k))[1])
    (found,) = sam3.find([draw_still(3, (160, 90), min_objects=3).image], 0.0)
    assert len(calls) == 1
    assert len(found.scores) == len(found.masks) == len(found.phrases) == 3 * 12
    assert dict(zip(found.phrases, found.class_ids.tolist(), strict=True)) == {
        "car": 0, "auto": 0, "dog": 1,
    }  # fmt: skip


def test_n_at_once_are_n_times_one_and_the_same_again(sam3):
    images = [draw_still(seed, (160, 90), min_objects=2).image for seed in (1, 2)]
    for image, together in zip(images, sam3.find(images, 0.05), strict=True):
        (alone,) = sam3.find([image], 0.05)
        assert torch.equal(alone.boxes_xyxy, together.boxes_xyxy)
        assert torch.equal(alone.scores, together.scores)
        assert list(alone.masks) == list(together.masks)


def test_where_nothing_reaches_the_floor_there_is_nothing(sam3):
    (found,) = sam3.find([np.zeros((9, 7, 3), np.uint8)], 1.0)
    assert found.boxes_xyxy.shape == (0, 4) and len(found.masks) == 0 and not found.phrases


def test_a_negative_speaks_against_what_it_outscores_in_its_place(asked):
    logits = torch.zeros(3, 4, 4)
    boxes = torch.tensor([[0.0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5]])
    found = _Found(boxes, torch.tensor([0.4, 0.4, 0.7]), logits)
    against = _Found(boxes[:1], torch.tensor([0.6]), logits[:1])
    left = _outscoring(found, [against])
    assert left.scores.tolist() == pytest.approx([0.4, 0.7])
    assert left.boxes.tolist() == boxes[1:].tolist()
    # The same phrase as a negative outscores every find.
    spec = ClassSpec("car", ("car",), ("car",))
    (nothing,) = made(asked, ClassList((spec,))).find([np.full((9, 7, 3), 90, np.uint8)], 0.0)
    assert len(nothing.scores) == 0


def test_a_phrase_that_is_too_long_is_named(asked):
    with pytest.raises(PromptError, match=r"phrase 'x{40}': 42 tokens, more than SAM 3's 32"):
        made(asked, ClassList((ClassSpec("long", ("x" * 40,)),)))


def test_masks_are_brought_to_the_pictures_size_when_asked_for():
    logits = torch.full((2, 4, 4), -9.0)
    logits[1, :2] = 9
    masks = Masks(list(logits), (8, 6))
    assert [m.decode().sum() for m in masks] == [0, 4 * 6]
    assert masks[1].size_hw == (8, 6) and len(masks[1:]) == 1


def test_without_access_the_page_to_visit_is_named():
    import httpx
    from huggingface_hub import errors

    from annotate.models.hub import _hub_failure
    from annotate.models.layouts import CheckpointSource

    answer = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))
    said = _hub_failure(
        CheckpointSource("facebook/sam3"), errors.GatedRepoError("no", response=answer)
    )
    assert "facebook/sam3" in said and "accept its terms at" in said and "HF_TOKEN" in said


def test_its_config_names_what_it_needs():
    command = typed(compose(["ground=sam3"], "config"), ModelsCommand)
    assert command.grounder.arguments["model"] == "facebook/sam3"
    assert Path(command.grounder.name.replace(".", "/")).name == "Sam3"
