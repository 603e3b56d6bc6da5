"""Classes that compete: groups are one for suppression, a parent has what its children leave."""

import numpy as np
import torch

from annotate.data import geometry
from annotate.data.types import ClassList, ClassSpec, Rle
from annotate.ground.base import Candidates
from annotate.ground.rivals import Rivals
from annotate.ground.select import select
from tests.ground.detectors import RULES

CLASSES = ClassList(
    (
        ClassSpec("vehicle", ("vehicle",)),
        ClassSpec("car", ("car",), parent="vehicle", group="cars"),
        ClassSpec("taxi", ("taxi",), parent="car", group="cars"),
        ClassSpec("dog", ("dog",)),
    )
)
VEHICLE, CAR, TAXI, DOG = range(4)
BOX = [0.0, 0.0, 100.0, 50.0]
NEAR = [5.0, 0.0, 105.0, 50.0]  # IoU 0.9
AWAY = [300.0, 0.0, 400.0, 50.0]


def left(*rows: tuple[list[float], float, int]) -> list[bool]:
    boxes, scores, ids = zip(*rows, strict=True)
    return (
        Rivals(CLASSES)
        .left_to_parents(
            torch.tensor(boxes), torch.tensor(scores), torch.tensor(ids), iou=0.7, least=0.25
        )
        .tolist()
    )


def test_a_group_is_one_and_every_other_class_its_own():
    groups = Rivals(CLASSES).groups(torch.tensor([VEHICLE, CAR, TAXI, DOG])).tolist()
    assert groups[1] == groups[2] and len(set(groups)) == 3


def test_a_child_takes_what_it_finds_whatever_the_parent_scores():
    assert left((BOX, 0.9, VEHICLE), (NEAR, 0.3, CAR)) == [False, True]
    assert left((BOX, 0.9, VEHICLE), (NEAR, 0.3, TAXI)) == [False, True]  # two steps down
    assert left((BOX, 0.9, CAR), (NEAR, 0.3, TAXI), (BOX, 0.8, VEHICLE)) == [False, True, False]


def test_a_parent_keeps_what_its_children_leave():
    assert left((BOX, 0.9, VEHICLE), (AWAY, 0.9, CAR)) == [True, True]
    assert left((BOX, 0.9, VEHICLE), (NEAR, 0.2, CAR)) == [True, True]  # not sure enough
    assert left((BOX, 0.9, VEHICLE), (NEAR, 0.9, DOG)) == [True, True]  # no relation
    assert left((BOX, 0.9, TAXI), (NEAR, 0.9, CAR)) == [True, False]


def test_selection_lets_children_take_and_groups_suppress_as_one():
    rows = [(BOX, 0.9, VEHICLE), (NEAR, 0.5, CAR), (BOX, 0.6, TAXI), (AWAY, 0.8, VEHICLE)]
    boxes, scores, ids = zip(*rows, strict=True)
    masks = [Rle(geometry.encode_masks(np.ones((1, 60, 500), bool))[0], (60, 500))] + [None] * 3
    candidates = Candidates(np.array(boxes), np.array(scores), np.array(ids), list("abcd"), masks)
    plain = select(candidates, (60, 500), RULES)
    assert sorted(plain.phrases) == ["a", "d"]  # b and c are nearly a's box, and less sure
    assert plain.masks == tuple(masks["abcd".index(p)] for p in plain.phrases)
    told = select(candidates, (60, 500), RULES, Rivals(CLASSES))
    assert told.phrases == ("d", "c") and told.class_ids.tolist() == [VEHICLE, TAXI]
