"""OmDet-Turbo on a small model, against the library's own processor."""

import pytest
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.data.types import ClassList, ClassSpec
from annotate.errors import PromptError
from annotate.ground.base import Grounder
from tests.ground.made import omdet_turbo
from tests.ground.making import found, loaded, picture

CLASSES = ClassList((ClassSpec("car", ("car", "auto")), ClassSpec("dog", ("big-dog",))))


@pytest.mark.parametrize("size_hw", [(90, 160), (133, 61)])
def test_boxes_and_scores_are_those_of_the_library(size_hw):
    as_the_library(loaded("omdet_turbo", CLASSES), size_hw)


def test_a_config_of_before_loads_its_backbone_of_timm_and_asks_nobody(tmp_path, monkeypatch):
    """The official checkpoint's: transformers would ask the hub for a repository of its name."""
    pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.HfApi.repo_exists", None)
    monkeypatch.setattr("socket.getaddrinfo", None)
    arguments = ["models=tiny", "device=cpu", *omdet_turbo.with_timm(tmp_path)]
    made = typed(compose(arguments, "config"), ModelsCommand).grounder.make(Grounder)
    made.load(CLASSES)
    as_the_library(made, (90, 160))


def as_the_library(made, size_hw) -> None:
    """Holds boxes and scores to those of the library's own processor."""
    image = picture(*size_hw)
    texts = ["car", "auto", "big dog"]
    with torch.inference_mode():
        inputs = made._processor(images=image, text=texts, return_tensors="pt")
        out = made._model(**inputs)
    (theirs,) = made._processor.post_process_grounded_object_detection(
        out, text_labels=[texts], threshold=0.0, nms_threshold=1.1, target_sizes=[size_hw],
        max_num_det=out.decoder_class_logits[0].numel(),
    )  # fmt: skip
    (mine,) = found(made, [image])
    dogs = mine.class_ids == 1
    their_dogs = theirs["labels"] == 2
    ours, known = (
        sorted(zip(scores.tolist(), boxes.tolist(), strict=True))
        for scores, boxes in (
            (mine.scores[dogs], mine.boxes_xyxy[dogs].clamp(min=0)),
            (theirs["scores"][their_dogs], theirs["boxes"][their_dogs]),
        )
    )
    h, w = size_hw
    for (score, box), (other, there) in zip(ours, known, strict=True):
        assert score == pytest.approx(other, abs=1e-5)
        inside = [min(v, edge) for v, edge in zip(box, (w, h, w, h), strict=True)]
        assert inside == pytest.approx(there, abs=1e-2)
    cars = torch.stack([theirs["scores"][theirs["labels"] == k].sort().values for k in (0, 1)])
    assert mine.scores[~dogs].max() == pytest.approx(float(cars.max()), abs=1e-5)


def test_a_long_list_is_asked_in_parts_of_a_picture_that_is_encoded_once(monkeypatch):
    made = loaded("omdet_turbo", listed(10), "ground.classes_at_once=4")
    assert [len(chunk.phrases.texts) for chunk in made._chunks] == [4, 4, 2]
    calls = []
    forward = made._model.vision_backbone.forward
    monkeypatch.setattr(
        made._model.vision_backbone, "forward", lambda *a: (calls.append(1), forward(*a))[1]
    )
    monkeypatch.setattr(made._model.language_backbone, "model", None)  # is asked no more
    (some,) = found(made, [picture()])
    assert len(calls) == 1
    assert set(some.class_ids.tolist()) == set(range(10))


def test_a_task_that_is_too_long_is_cut_as_the_librarys_own_processor_does():
    made = loaded("omdet_turbo", many := listed(40))
    (chunk,) = made._chunks
    texts = [spec.name for spec in many.classes]
    inputs = made._processor(images=picture(), text=texts, return_tensors="pt")
    assert inputs["tasks_input_ids"].shape == (1, 77) and len(", ".join(texts)) > 77
    with torch.inference_mode():
        classes, task, mask = made._model.get_language_embedding(
            *(inputs[f"{of}_{key}"] for of in ("classes", "tasks")
              for key in ("input_ids", "attention_mask")), inputs["classes_structure"],
        )  # fmt: skip
    torch.testing.assert_close(chunk.classes, classes)
    torch.testing.assert_close(chunk.task, task)
    assert torch.equal(chunk.task_mask, mask)


def listed(count: int) -> ClassList:
    return ClassList(tuple(ClassSpec(f"thing {n}", (f"thing {n}",)) for n in range(count)))


def test_a_phrase_that_is_too_long_is_named():
    with pytest.raises(PromptError, match=r"phrase 'x{80}': 82 tokens, more than OmDet-Turbo's 77"):
        loaded("omdet_turbo", ClassList((ClassSpec("long", ("x" * 80,)),)))
