"""What several grounders found, made one, by hand; and grounders asked together."""

import numpy as np
import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, ModelsCommand
from annotate.data.types import Rle
from annotate.errors import ConfigError
from annotate.ground.base import Candidates, Grounder
from annotate.ground.fusion import fused
from annotate.ground.select import select
from annotate.record.asked import difference
from tests.ground.detectors import RULES
from tests.ground.making import CLASSES, found, fresh, loaded, overrides, picture

MASK = Rle("", (9, 9))


def of(*rows, masks=None) -> Candidates:
    """Of rows of box, score and class."""
    boxes, scores, ids = zip(*rows, strict=True) if rows else ((), (), ())
    phrases = [f"class {i}" for i in ids]
    return Candidates(np.array(boxes, float).reshape(-1, 4), scores, list(ids), phrases, masks)


def fuse(*of_each: Candidates, weights=None, iou=0.55, score="mean") -> Candidates:
    return fused(of_each, weights or [1.0] * len(of_each), iou=iou, score=score)


def test_boxes_that_overlap_are_averaged_by_their_scores():
    some = fuse(of(((0, 0, 10, 10), 0.9, 0)), of(((2, 0, 12, 10), 0.3, 0)))
    np.testing.assert_allclose(some.boxes_xyxy, [[0.5, 0, 10.5, 10]], atol=1e-6)
    assert some.scores.tolist() == pytest.approx([0.6]) and some.agreements.tolist() == [1]


def test_what_one_alone_found_counts_half_or_wholly():
    alone = of(((0, 0, 10, 10), 0.8, 0)), of()
    assert fuse(*alone).scores.tolist() == pytest.approx([0.4])
    assert fuse(*alone, score="best").scores.tolist() == pytest.approx([0.8])
    assert fuse(*alone).agreements.tolist() == [0.5]


def test_classes_and_far_boxes_are_kept_apart():
    some = fuse(
        of(((0, 0, 10, 10), 0.9, 0), ((50, 0, 60, 10), 0.5, 0)),
        of(((0, 0, 10, 10), 0.7, 1), ((80, 0, 90, 10), 0.4, 0)),
    )
    assert sorted(zip(some.class_ids.tolist(), some.boxes_xyxy[:, 0].tolist(), strict=True)) == [
        (0, 0), (0, 50), (0, 80), (1, 0),
    ]  # fmt: skip
    assert some.agreements.tolist() == [0.5] * 4


def test_two_boxes_of_one_grounder_are_two_objects():
    crowd = of(((0, 0, 10, 10), 0.9, 0), ((1, 0, 11, 10), 0.8, 0))
    some = fuse(crowd, of(((1, 0, 11, 10), 0.7, 0)))
    assert len(some.scores) == 2
    assert sorted(some.agreements.tolist()) == [0.5, 1]
    best = int(np.argmax(some.agreements))
    # The other one's box joins the one that it overlaps most.
    assert some.boxes_xyxy[best, 0] == pytest.approx(1)


def test_weights_say_whose_word_counts_more():
    some = fuse(of(((0, 0, 10, 10), 0.5, 0)), of(((4, 0, 14, 10), 0.5, 0)), weights=[3, 1], iou=0.4)
    assert some.boxes_xyxy[0, 0] == pytest.approx(1)
    assert some.scores.tolist() == pytest.approx([0.5])
    alone = fuse(of(((0, 0, 10, 10), 0.8, 0)), of(), weights=[3, 1])
    assert alone.scores.tolist() == pytest.approx([0.6]) and alone.agreements.tolist() == [0.75]


def test_phrase_and_mask_are_those_of_the_surest_that_has_them():
    some = fuse(
        of(((0, 0, 10, 10), 0.9, 0)), of(((0, 0, 10, 10), 0.3, 0), masks=[MASK]),
    )  # fmt: skip
    assert list(some.masks) == [MASK] and list(some.phrases) == ["class 0"]
    assert fuse(of(((0, 0, 9, 9), 1, 0)), of()).masks is None


def test_boxes_of_no_score_are_averaged_alike():
    some = fuse(of(((0, 0, 10, 10), 0.0, 0)), of(((2, 0, 12, 10), 0.0, 0)))
    assert some.boxes_xyxy[0].tolist() == [1, 0, 11, 10]


def test_agreement_goes_with_the_detections_that_stay():
    some = select(
        fuse(of(((0, 0, 5, 5), 0.05, 0), ((10, 0, 20, 10), 0.9, 0)), of(((10, 0, 20, 10), 0.8, 0))),
        (40, 40),
        RULES,
    )
    assert some.agreements.tolist() == [1] and some.scores.tolist() == pytest.approx([0.85])


def test_an_ensemble_finds_what_its_members_find():
    made = loaded("ensemble", CLASSES)
    (together,) = found(made, [picture()], 0.1)
    apart = [
        fused(
            [member.find([picture()], 0.1)[0] for member in made._members.values()],
            [1, 1], iou=0.55, score="mean",
        )
    ]  # fmt: skip
    assert together.scores.tolist() == apart[0].scores.tolist()
    assert set(together.agreements.tolist()) <= {0.5, 1.0}
    assert made.provenance["members"].keys() == {"tiny", "owlv2"}


def test_each_member_is_shown_the_tiles_but_one_that_knows_pictures_by_name():
    ensemble, boxes = fresh("ensemble"), fresh("boxes")
    wrapped: list[Grounder] = []

    def wrap(one: Grounder) -> Grounder:
        wrapped.append(one)
        return one

    members = list(ensemble._members.values())
    assert [*ensemble.tiled(wrap).parts] == members and wrapped == members
    assert boxes.tiled(wrap) is boxes and wrapped == members


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("ground=[tiny]", "an ensemble has two grounders or more"),
        ("ground=[tiny,owl]", "expected different ones of .*; did you mean owlv2"),
        ("ground=[tiny,tiny]", "expected different ones of"),
        ("ground=[tiny,ensemble]", "expected different ones of"),
    ],
)
def test_members_that_cannot_be_are_named(asked, words):
    with pytest.raises(ConfigError, match=words):
        typed(compose([asked], "config"), ModelsCommand).grounder.make(Grounder)


def test_a_key_of_a_member_is_checked_as_its_own():
    asked = ["ground=[tiny,owlv2]", "ground.members.owlv2.tmplate=x"]
    with pytest.raises(ConfigError, match=r"did you mean ground\.members\.owlv2\.template\?"):
        typed(compose(asked, "config"), ModelsCommand).grounder.make(Grounder)
    with pytest.raises(ConfigError, match=r"ground\.weights\.owl: no member; there are"):
        asked = ["ground=[tiny,owlv2]", "ground.weights={owl: 2}"]
        typed(compose(asked, "config"), ModelsCommand).grounder.make(Grounder)


def test_what_decides_of_a_member_is_in_the_fingerprint_and_no_more():
    def deciding(*more: str):
        asked = ["dataset=.", "prompts=[a]", *overrides("ensemble"), *more]
        return typed(compose(asked, "config"), AnnotateCommand).grounder.deciding()

    before = deciding("device=cpu")
    assert "device" not in before["members"]["owlv2"]
    assert difference(before, deciding("device=cuda")) == ""
    changed = deciding("ground.members.owlv2.template='{}'")
    assert "members.owlv2.template" in difference(before, changed)
