"""The grounders of the cloud: what is sent, what comes back, and what it becomes."""

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList, ClassSpec, Rle
from annotate.errors import ConfigError, PromptError
from annotate.ground.base import Grounder
from annotate.ground.dds import address, masks, picture, texts
from tests.dds_server import TOKEN, by_column, by_row, serve, string_of
from tests.ground import dds as cloud


@pytest.fixture
def dds(monkeypatch):
    monkeypatch.setenv("DDS_API_TOKEN", TOKEN)
    with serve() as service:
        yield service


def test_boxes_masks_and_phrases_are_those_of_the_picture(dds):
    grounder = cloud.loaded(dds)
    (found,) = grounder.find([cloud.picture()], cloud.FLOOR)
    assert cloud.boxes_of(found) == cloud.BOXES
    assert dict(zip(found.phrases, found.class_ids.tolist(), strict=True)) == {"red": 0, "blue": 1}
    assert found.scores == pytest.approx([0.95, 0.95])
    for phrase, mask in zip(found.phrases, found.masks, strict=True):
        x0, y0, x1, y1 = cloud.BOXES[phrase]
        drawn = np.zeros((100, 200), bool)
        drawn[y0:y1, x0:x1] = True
        assert mask.size_hw == (100, 200) and (mask.decode() == drawn).all()


def test_what_is_sent_is_as_documented(dds):
    cloud.loaded(dds, prompts="[red,deep-blue thing]").find([cloud.picture()], 0.2)
    assert dds.bodies == [
        {
            "model": "DINO-X-1.0",
            "prompt": {"type": "text", "text": "red.deep blue thing"},
            "targets": ["bbox", "mask"],
            "bbox_threshold": 0.2,
            "iou_threshold": 0.8,
            "mask_format": "coco_rle",
        }
    ]
    assert len(dds.keys[0]) == 36


@pytest.mark.parametrize("version", ["1.6-Pro", "1.6-Edge", "1.5-Pro", "1.5-Edge"])
def test_grounding_dino_gives_boxes_alone(dds, version):
    model = f"ground.model=GroundingDino-{version}"
    (found,) = cloud.loaded(dds, "ground=grounding_dino_api", model).find(
        [cloud.picture()], cloud.FLOOR
    )
    assert cloud.boxes_of(found) == cloud.BOXES and found.masks is None
    assert dds.bodies[0]["targets"] == ["bbox"] and "mask_format" not in dds.bodies[0]


def test_pictures_are_answered_in_their_order_and_each_is_paid_once(dds):
    images = [cloud.shifted(by) for by in range(12)]
    found = cloud.loaded(dds).find([*images, images[3]], cloud.FLOOR)
    assert [c.boxes_xyxy[0, 0] for c in found] == [20.0 + by for by in (*range(12), 3)]
    assert dds.paid == 12 and len(set(dds.keys)) == 12


def test_nothing_found_is_an_answer(dds):
    (found,) = cloud.loaded(dds).find([cloud.picture({})], cloud.FLOOR)
    assert found.boxes_xyxy.shape == (0, 4) and len(found.phrases) == len(found.masks) == 0


def test_a_large_picture_is_made_smaller_and_its_boxes_and_masks_larger(dds):
    image = cloud.picture({"red": (600, 900, 1200, 1500)}, size_hw=(2000, 3333))
    (found,) = cloud.loaded(dds).find([image], cloud.FLOOR)
    assert dds.sizes_hw == [(922, 1536)]
    assert found.boxes_xyxy[0] == pytest.approx([600, 900, 1200, 1500], abs=2.5)
    assert any(v % 1 for v in found.boxes_xyxy[0])  # as floats, not cut to whole pixels
    mask = found.masks[0].decode()
    assert mask.shape == (2000, 3333)
    drawn = np.zeros_like(mask)
    drawn[900:1500, 600:1200] = True
    assert (mask & drawn).sum() / (mask | drawn).sum() > 0.98


@pytest.mark.parametrize("size_hw", [(1, 5000), (5000, 1), (3, 3)])
def test_odd_sizes_are_sent(dds, size_hw):
    (found,) = cloud.loaded(dds).find([cloud.picture({}, size_hw)], cloud.FLOOR)
    assert len(found.phrases) == 0
    assert max(dds.sizes_hw[0]) <= 1536 and min(dds.sizes_hw[0]) >= 1


def test_the_service_s_own_masks_are_read(dds):
    dds.by_row = True
    (found,) = cloud.loaded(dds).find([cloud.picture()], cloud.FLOOR)
    x0, y0, x1, y1 = cloud.BOXES["red"]
    mask = found.masks[found.phrases.index("red")].decode()
    assert mask.sum() == (x1 - x0) * (y1 - y0) and mask[y0:y1, x0:x1].all()


def drawn(seed: int, size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).random(size_hw) < 0.3


@pytest.mark.parametrize("size_hw", [(7, 11), (40, 1), (1, 40), (120, 90)])
@pytest.mark.parametrize("coded", [by_row, by_column])
def test_both_codings_are_the_same_mask(coded, size_hw):
    mask = drawn(3, size_hw)
    made = masks.mask_of(coded(mask), size_hw, size_hw)
    assert (made.decode() == mask).all()


def test_the_string_coding_of_the_test_service_is_coco_s():
    mask = drawn(5, (60, 80))
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(int), [2]])
    runs = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))])).tolist()
    assert string_of(runs) == by_column(mask)["counts"]


@pytest.mark.parametrize(
    "change",
    [
        {"size": [7, 12]},
        {"size": [11, 7]},
        {"size": [7]},
        {"counts": "~~"},
        {"counts": "ü"},
        {"counts": ""},
        {"counts": string_of([3, 5])},  # of COCO's coding, the end is missing
        {"counts": string_of([3, 5, 80])},
        {"counts": string_of([77])},
        {"counts": 7},
        {"format": "png"},
    ],
)
def test_a_damaged_mask_is_none(change):
    assert masks.mask_of(by_column(drawn(1, (7, 11))) | change, (7, 11), (7, 11)) is None


@pytest.mark.parametrize("counts", ["", string_of([77]), string_of([3, 80]), "0" * 9 + "o"])
def test_a_damaged_mask_of_the_service_s_own_is_none(counts):
    said = {"counts": counts, "size": [7, 11], "format": "dds_rle"}
    assert masks.mask_of(said, (7, 11), (7, 11)) is None


@pytest.mark.parametrize("said", [None, [], "x", {"counts": "1"}])
def test_what_is_no_mask_is_none(said):
    assert masks.mask_of(said, (7, 11), (7, 11)) is None


def test_a_mask_of_another_size_costs_the_mask_and_not_its_box(dds):
    def change(found):
        if found["category"] == "red":
            found["mask"]["size"] = [200, 100]

    dds.change = change
    grounder = cloud.loaded(dds)
    (found,) = grounder.find([cloud.picture()], cloud.FLOOR)
    assert cloud.boxes_of(found) == cloud.BOXES
    by_phrase = dict(zip(found.phrases, found.masks, strict=True))
    assert by_phrase["red"] is None and isinstance(by_phrase["blue"], Rle)
    assert grounder.tally["damaged masks left out, their boxes kept"] == 1


def test_categories_are_known_again_by_case_and_blanks_alone(dds, caplog):
    names = {"red": "  RED ", "blue": "bluebird"}
    dds.change = lambda found: found.update(category=names[found["category"]])
    grounder = cloud.loaded(dds)
    (found,) = grounder.find([cloud.picture()], cloud.FLOOR)
    assert cloud.boxes_of(found) == {"red": cloud.BOXES["red"]}
    assert grounder.tally["boxes of categories nobody asked for"] == 1
    assert "'bluebird', which is not in the class list" in caplog.text


def test_a_negative_speaks_against_what_scores_less_in_its_place(dds):
    classes = "[{name: fire, phrases: [red], negatives: [blue]}]"
    twice = cloud.picture({"red": cloud.BOXES["red"], "blue": cloud.BOXES["blue"]})
    (found,) = cloud.loaded(dds, prompts=classes).find([twice], cloud.FLOOR)
    assert cloud.boxes_of(found) == {"red": cloud.BOXES["red"]}  # a negative is no class

    def change(found):
        if found["category"] == "blue":
            found.update(bbox=[20, 30, 60, 81], score=0.99)

    dds.change = change
    (found,) = cloud.loaded(dds, prompts=classes).find([twice], cloud.FLOOR)
    assert not len(found.phrases)


def specs(*phrases: tuple[str, ...]) -> ClassList:
    return ClassList(tuple(ClassSpec(f"c{n}", p) for n, p in enumerate(phrases)))


def test_a_long_class_list_is_several_requests_with_each_class_whole():
    made = texts.requests_of(specs(("a", "b"), ("c",), ("d", "e"), ("f",)), 3)
    assert [t.prompt for t in made] == ["a.b.c", "d.e.f"]
    assert made[1].stands_for["e"] == ((2, "e"),)


def test_a_text_that_two_classes_share_is_sent_once_and_stands_for_both():
    (made,) = texts.requests_of(specs(("Traffic Light",), ("traffic  light", "lamp")), 9)
    assert made.prompt == "Traffic Light.lamp"
    assert made.stands_for["traffic light"] == ((0, "Traffic Light"), (1, "traffic  light"))


def test_a_point_in_a_phrase_does_not_break_it_apart():
    (made,) = texts.requests_of(specs(("no. 5 sign",), ("t.v.",)), 9)
    assert made.prompt == "no 5 sign.t v"
    assert made.stands_for["no 5 sign"] == ((0, "no. 5 sign"),)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (specs(("...",)), "phrase '...': no letter or digit"),
        (specs(("a", "b", "c")), "class 'c0': 3 phrases, more than ground.phrases=2"),
    ],
)
def test_what_no_request_can_ask_is_a_prompt_error(classes, says):
    with pytest.raises(PromptError, match=says):
        texts.requests_of(classes, 2)


def test_several_requests_of_a_picture_are_one_answer(dds):
    grounder = cloud.loaded(dds, "ground.phrases=1")
    (found,) = grounder.find([cloud.picture()], cloud.FLOOR)
    assert cloud.boxes_of(found) == cloud.BOXES
    assert sorted(body["prompt"]["text"] for body in dds.bodies) == ["blue", "red"]


@pytest.mark.parametrize(("quality", "kind"), [(None, "PNG"), (95, "JPEG")])
def test_what_is_sent_is_the_picture(quality, kind):
    image = cloud.picture()
    head, _, data = picture.data_uri(image, (50, 100), quality).partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    with PilImage.open(BytesIO(base64.b64decode(data))) as sent:
        assert (sent.format, sent.size) == (kind, (100, 50))
        assert np.abs(np.asarray(sent)[20:35, 15:25].astype(int) - cloud.RGB["red"]).max() < 8


def test_pictures_never_become_larger():
    assert picture.sent_size((100, 200), 1536) == (100, 200)
    assert picture.sent_size((4000, 3000), 1536) == (1536, 1152)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, "https://api.deepdataspace.com"),
        ("https://proxy.example:8443/dds/", "https://proxy.example:8443/dds"),
        ("api.example", "https://api.example"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_where_the_service_is(given, url, monkeypatch):
    monkeypatch.delenv("DDS_CLOUDAPI_ENDPOINT", raising=False)
    assert address.url(given) == url
    monkeypatch.setenv("DDS_CLOUDAPI_ENDPOINT", given or "")
    assert address.url(None) == url


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("https://me:hush@api.example", "no user, password or query"),
        ("https://api.example?token=hush", "no user, password or query"),
        ("https://", "expected https://HOST"),
        ("https://h:port", "expected https://HOST"),
        ("http://api.example", "would carry the key in the open; use https"),
        ("ftp://api.example", "would carry the key in the open; use https"),
    ],
)
def test_an_endpoint_that_would_give_secrets_away_is_refused(given, says):
    argv = ["dataset=.", "prompts=[cat]", "segment=tiny", "ground=dino_x"]
    target = typed(compose(argv, "config"), AnnotateCommand).grounder
    with pytest.raises(ConfigError, match=says) as caught:
        replace(target, arguments={**target.arguments, "endpoint": given}).make(Grounder)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "  ", "two words", "a\nb", "ключ"])
def test_a_key_that_is_none_is_told_without_showing_it(token, monkeypatch):
    monkeypatch.setenv("DDS_API_TOKEN", token)
    with pytest.raises(ConfigError, match="DDS_API_TOKEN") as caught:
        address.token()
    assert not token.strip() or token not in str(caught.value)


def test_what_answers_is_told_without_the_key(dds):
    grounder = cloud.loaded(dds)
    assert grounder.provenance == {
        "model": "DINO-X-1.0",
        "service": "DeepDataSpace cloud API, /v2/task/dinox/detection",
        "host": "127.0.0.1",
    }
    for thing in (grounder, grounder._service, grounder._asker, grounder._answers):
        assert TOKEN not in repr(thing)


def test_only_what_changes_answers_decides():
    decides = cloud.asked("[red,blue]").grounder.deciding()
    assert set(decides) == {
        "_target_", "model", "api", "masks", "iou_threshold", "phrases", "longest_side",
        "jpeg_quality",
    }  # fmt: skip
