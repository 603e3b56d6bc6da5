"""OWLv2 on a small model, against the library's own processor, and on logits that were made."""

import pytest
import torch

from annotate.data.types import ClassList, ClassSpec
from annotate.errors import ConfigError, PromptError
from annotate.ground.phrases import Phrases
from tests.ground.making import found, fresh, loaded, picture

CLASSES = ClassList((ClassSpec("car", ("car", "auto")), ClassSpec("dog", ("big-dog",))))


@pytest.mark.parametrize("size_hw", [(90, 160), (133, 61), (64, 64)])
def test_boxes_and_scores_are_those_of_the_librarys_own_processor(size_hw):
    made = loaded("owlv2", CLASSES)
    image = picture(*size_hw)
    texts = [f"a photo of a {phrase}" for phrase in ("car", "auto", "big dog")]
    with torch.inference_mode():
        inputs = made._processor(text=[texts], images=image, return_tensors="pt", padding=True)
        out = made._model(**inputs)
    (theirs,) = made._processor.post_process_grounded_object_detection(
        out, threshold=0.0, target_sizes=torch.tensor([size_hw]), text_labels=[texts]
    )
    (mine,) = found(made, [image])
    # The library keeps of a patch the best phrase, here every class has its own.
    assert len(mine.scores) == 2 * len(theirs["scores"])
    scores, classes = mine.scores.reshape(-1, 2), mine.class_ids.reshape(-1, 2)
    assert classes.tolist() == [[0, 1]] * len(theirs["scores"])
    torch.testing.assert_close(scores.amax(1), theirs["scores"], atol=1e-5, rtol=0)
    best = mine.boxes_xyxy.reshape(-1, 2, 4)[:, 0]
    torch.testing.assert_close(best, theirs["boxes"], atol=1e-2, rtol=0)
    names = [mine.phrases[2 * n + int(k)] for n, k in enumerate(scores.argmax(1))]
    said = {"a photo of a car": "car", "a photo of a auto": "auto"}
    assert names == [said.get(label, "big-dog") for label in theirs["text_labels"]]


def test_a_box_is_a_share_of_the_square_that_the_picture_is_padded_to():
    made = loaded("owlv2", CLASSES)
    phrases = Phrases.of(CLASSES, range(2))
    made._phrases = phrases
    boxes = torch.tensor([[0.25, 0.125, 0.5, 0.25], [0.5, 0.5, 0.1, 0.1]])
    scores = torch.tensor([[0.2, 0.7, 0.1], [0.05, 0.05, 0.4]])
    some = made._candidates(picture(100, 200), boxes, scores, 0.3)
    assert some.boxes_xyxy.tolist() == [
        pytest.approx([0, 0, 100, 50]), pytest.approx([90, 90, 110, 110], abs=1e-4),
    ]  # fmt: skip
    assert some.class_ids.tolist() == [0, 1] and list(some.phrases) == ["auto", "big-dog"]


def test_phrases_are_encoded_once_for_all_pictures(monkeypatch):
    made = loaded("owlv2", CLASSES)
    monkeypatch.setattr(made._model.owlv2, "text_model", None)  # is asked no more
    assert found(made, [picture(), picture(seed=1)])


def test_what_cannot_be_read_is_named():
    with pytest.raises(PromptError, match=r"phrase 'x{60}': 71 tokens .* more than OWLv2's 48"):
        loaded("owlv2", ClassList((ClassSpec("long", ("x" * 60,)),)))
    with pytest.raises(ConfigError, match=r"ground\.template='a photo': needs one \{\} for"):
        fresh("owlv2", "ground.template=a photo")
