"""Class lists of 300 and 1,203 classes: the last is found as well as alone."""

import pytest

from annotate.data.types import ClassList, ClassSpec
from annotate.ground.grounding_dino.captions import split_classes
from annotate.ground.prompt_budget import evenly_filled
from annotate.ground.select import Detector
from annotate.synthetic.still import draw_still
from tests.ground.detectors import RULES, Loaded, frames

WANTED = "red circle"


def of(count: int) -> ClassList:
    """So many classes of which the last is shown."""
    others = [ClassSpec(f"thing {n}", (f"thing {n}",)) for n in range(count - 1)]
    return ClassList((*others, ClassSpec(WANTED, (WANTED,))))


def hits(scorer, classes: ClassList) -> list[bool]:
    """Whether the one object of each picture is found as what it is."""
    detector = Detector(Loaded(scorer, classes), RULES)
    result = []
    for seed in range(13):
        drawn = draw_still(
            seed, (256, 256), combos=[("red", "circle")], min_objects=1, max_objects=1
        )
        (found,) = detector.find(frames(drawn.image))
        (shown,) = drawn.objects
        right = found.class_ids == len(classes) - 1
        near = abs(found.boxes_xyxy - shown.box_xyxy).max(1) < 10
        result.append(bool((right & near & (found.scores >= 0.3)).any()))
    return result


@pytest.mark.parametrize("count", [300, 1203])
def test_the_last_of_many_is_found_as_well_as_alone(tiny_dino, count):
    alone = hits(tiny_dino, of(1))
    among = hits(tiny_dino, of(count))
    assert sum(alone) >= 11
    assert sum(among) >= sum(alone) - 1


def test_classes_at_once_limits_a_caption_whatever_room_its_tokens_leave(tiny_dino):
    classes = of(300)
    parts = split_classes(tiny_dino, classes, 80)
    assert [i for part in parts for i in part] == list(range(300))
    assert max(map(len, parts)) <= 80
    few = split_classes(tiny_dino, classes, 7)
    assert max(map(len, few)) == 7 and len(few) == 43


def test_groups_are_even_within_both_limits():
    assert evenly_filled([1] * 100, 1000, most=80) == [list(range(50)), list(range(50, 100))]
    assert [len(g) for g in evenly_filled([1] * 7, 1000, most=3)] == [3, 3, 1]
    assert [len(g) for g in evenly_filled([10] * 8, 20, most=5)] == [2, 2, 2, 2]
