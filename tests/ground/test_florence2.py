"""Florence-2: what its replies say, and that it is asked as the library asks it."""

import numpy as np
import pytest
import torch

from annotate.data.types import ClassList, ClassSpec, spoken
from annotate.errors import ConfigError, PromptError
from annotate.ground.florence2.replies import boxes_in
from annotate.ground.select import Detector
from tests.ground.detectors import RULES, frames
from tests.ground.making import found, loaded, picture

CLASSES = ClassList(
    (ClassSpec("car", ("car", "auto"), ("toy car",)), ClassSpec("dog", ("big-dog",)))
)
SIZE = (1000, 2000)  # px, so that a bin is 2 x 1 px


@pytest.mark.parametrize(
    ("reply", "boxes", "broken"),
    [
        ("</s><s>car<loc_0><loc_100><loc_499><loc_999></s>", [[1, 100.5, 999, 999.5]], 0),
        ("car<loc_0><loc_0><loc_9><loc_9><loc_10><loc_10><loc_19><loc_19>dog<loc_5><loc_5><loc_6>"
         "<loc_6>", [[1, 0.5, 19, 9.5], [21, 10.5, 39, 19.5], [11, 5.5, 13, 6.5]], 0),
        ("car<loc_9><loc_9><loc_0><loc_0>", [[1, 0.5, 19, 9.5]], 0),  # its corners the other way
        ("car<loc_0><loc_0><loc_9><loc_9><loc_10><loc_10>", [[1, 0.5, 19, 9.5]], 1),  # cut off
        ("car<loc_0><loc_0><loc_9> and <loc_9><loc_1><loc_1><loc_2>", [[3, 1.5, 19, 2.5]], 1),
        ("car<poly><loc_1><loc_2><loc_9><loc_2><loc_9><loc_8></poly>", [[3, 2.5, 19, 8.5]], 0),
        ("car<poly><loc_1><loc_2><loc_9><loc_2><loc_9><loc_8><sep><loc_20><loc_20><loc_21><loc_21>"
         "<loc_22><loc_20></poly>", [[3, 2.5, 45, 21.5]], 0),
        ("car<poly><loc_1><loc_2><loc_9></poly>", [], 1),
        ("car<poly><loc_1><loc_2><loc_9><loc_2><loc_9><loc_8></poly><loc_0><loc_0><loc_9><loc_9>",
         [[3, 2.5, 19, 8.5], [1, 0.5, 19, 9.5]], 0),
        ("car<loc_0><loc_0><loc_1500><loc_9>", [[1, 0.5, 1999, 9.5]], 0),
        ("no such thing, a < b", [], 0),
        ("", [], 0),
    ],
)  # fmt: skip
def test_places_in_a_reply(reply, boxes, broken):
    some, count = boxes_in(reply, SIZE)
    assert some.dtype == np.float32 and some.shape == (len(boxes), 4)
    np.testing.assert_allclose(some, np.array(boxes, float).reshape(-1, 4))
    assert count == broken


@pytest.mark.parametrize(
    ("mode", "task"),
    [
        ("open_vocabulary", "<OPEN_VOCABULARY_DETECTION>"),
        ("phrase_grounding", "<CAPTION_TO_PHRASE_GROUNDING>"),
    ],
)
def test_a_prompt_is_read_and_answered_as_by_the_librarys_own_processor(mode, task):
    made = loaded("florence2", CLASSES, f"ground.mode={mode}")
    writer = made._writer
    image = picture(40, 60)
    processor, model = writer._processor, writer._model
    ((all_ids, masks),) = writer._batches
    for asked, ids, mask in zip(writer._asked, all_ids, masks, strict=True):
        text = f"{task}{spoken(asked.phrase)}"
        inputs = processor(text=text, images=image, return_tensors="pt")
        real = ids[mask.bool()]
        assert torch.equal(inputs["input_ids"][0], real)
        with torch.inference_mode():
            theirs = model.generate(
                input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"],
                attention_mask=inputs["attention_mask"], num_beams=2, max_new_tokens=24,
                do_sample=False,
            )  # fmt: skip
            mine = writer._replies(writer._look(image), real[None], torch.ones_like(real)[None])
        assert mine == processor.batch_decode(theirs, skip_special_tokens=False)


def answering(monkeypatch, made, replies: dict[str, str]) -> None:
    """Has the model write what is given for each phrase."""
    said = iter([replies.get(asked.phrase, "") for asked in made._writer._asked])
    monkeypatch.setattr(
        made._writer, "_replies", lambda features, ids, mask: [next(said) for _ in ids]
    )


def test_boxes_are_their_phrases_whatever_words_stand_beside_them(monkeypatch):
    made = loaded("florence2", CLASSES, "ground.phrases_at_once=3")
    answering(monkeypatch, made, {
        "car": "dog<loc_0><loc_0><loc_499><loc_499>",
        "big-dog": "a car<loc_500><loc_0><loc_999><loc_999>",
    })  # fmt: skip
    (some,) = found(made, [picture(100, 200)])
    assert list(some.phrases) == ["car", "big-dog"] and some.class_ids.tolist() == [0, 1]
    assert some.scores.tolist() == [1, 1]
    np.testing.assert_allclose(
        some.boxes_xyxy, [[0.1, 0.05, 99.9, 49.95], [100.1, 0.05, 199.9, 99.95]], atol=1e-4
    )


def test_a_negative_takes_what_it_finds_in_the_same_place(monkeypatch):
    made = loaded("florence2", CLASSES)
    place, other = "<loc_0><loc_0><loc_499><loc_499>", "<loc_600><loc_600><loc_900><loc_900>"
    answering(monkeypatch, made, {
        "car": place + other, "toy car": place, "big-dog": place,
    })  # fmt: skip
    (some,) = found(made, [picture(100, 200)])
    assert list(some.phrases) == ["car", "big-dog"]  # only cars have it as a negative
    assert some.boxes_xyxy[0, 0] > 100


def test_the_first_of_equal_boxes_stays_and_the_order_is_that_of_writing(monkeypatch):
    made = loaded("florence2", CLASSES)
    one, two = "<loc_0><loc_0><loc_400><loc_400>", "<loc_600><loc_600><loc_900><loc_900>"
    answering(monkeypatch, made, {"car": two + one + two, "auto": one})
    (some,) = Detector(made, RULES).find(frames(picture(100, 200)))
    assert some.phrases == ("car", "car")
    assert some.boxes_xyxy[:, 0].round().tolist() == [120, 0]


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("x" * 120, r"phrase 'x{120}': \d+ tokens .* than Florence-2's 128"),
        ("an <image>", r"phrase 'an <image>': <image> stands for the picture"),
    ],
)
def test_a_phrase_that_cannot_be_read_is_named(phrase, words):
    with pytest.raises(PromptError, match=words):
        loaded("florence2", ClassList((ClassSpec("odd", (phrase,)),)))


def test_a_reply_can_be_no_longer_than_the_model_writes():
    """Past its last position the model would end in an error of the device."""
    assert found(loaded("florence2", CLASSES, "ground.max_new_tokens=128"), [picture()])
    with pytest.raises(ConfigError, match=r"ground\.max_new_tokens=129: more than the 128 "):
        loaded("florence2", CLASSES, "ground.max_new_tokens=129")


def test_what_is_not_whole_is_counted(monkeypatch):
    made = loaded("florence2", CLASSES)
    answering(monkeypatch, made, {"car": "<loc_0><loc_0><loc_499>"})
    (some,) = found(made, [picture()])
    assert len(some.scores) == 0
    assert made.tally == {"places in replies that are not whole": 1}
