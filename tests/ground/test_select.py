"""Candidates to detections, for any grounder; and Grounding DINO's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from annotate.config.schema import checked
from annotate.config.settings import GroundSettings
from annotate.data.types import ClassList, ClassSpec
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError, PromptError
from annotate.ground.base import Candidates, Grounder
from annotate.ground.grounding_dino import GroundingDino
from annotate.ground.grounding_dino.captions import Captions, split_classes
from annotate.ground.phrases import Phrases
from annotate.ground.select import Detector, select
from annotate.synthetic.still import draw_still
from tests.ground.detectors import RULES, detector, frames

PHRASES = ["red circle", "blue square", "green triangle", "yellow cross", "purple ring"]
COMBOS = [tuple(p.split()) for p in PHRASES]


def scene(seed: int, size_wh: tuple[int, int] = (256, 192)):
    return draw_still(seed, size_wh, combos=COMBOS, min_objects=2)


def same(one, two) -> None:
    assert one.phrases == two.phrases
    assert np.array_equal(one.class_ids, two.class_ids)
    np.testing.assert_allclose(one.boxes_xyxy, two.boxes_xyxy, atol=0.01)
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)


def test_finds_the_objects_under_their_own_classes(tiny_dino):
    grounder = detector(tiny_dino, load_prompts(PHRASES))
    right = total = 0
    for seed in range(40, 52):
        drawn = scene(seed)
        (found,) = grounder.find(frames(drawn.image))
        sure = found.scores >= 0.3
        for shown in drawn.objects:
            total += 1
            near = np.abs(found.boxes_xyxy - np.array(shown.box_xyxy)).max(1) < 10
            right += bool((near & sure & (found.class_ids == PHRASES.index(shown.phrase))).any())
    assert right >= 0.85 * total, f"{right} of {total}"


def test_several_images_in_one_forward_equal_one_at_a_time(tiny_dino):
    grounder = detector(tiny_dino, load_prompts(PHRASES))
    sizes = [(256, 192), (192, 256), (256, 192), (200, 200), (256, 192)]
    images = [scene(60 + i, size).image for i, size in enumerate(sizes)]
    together = grounder.find(frames(*images))
    assert sum(map(len, together)) > 5
    for image, found in zip(images, together, strict=True):
        same(grounder.find(frames(image))[0], found)


def placed(boxes, scores, class_ids) -> Candidates:
    return Candidates(np.array(boxes), np.array(scores), np.array(class_ids), ["x"] * len(boxes))


@pytest.mark.parametrize("many", [0, 3000])
@pytest.mark.parametrize("class_id", [0, 1, 600, 1202])
def test_boxes_of_a_class_are_as_near_to_each_other_whatever_its_number(class_id, many):
    """LVIS has 1,203 classes; `many` more candidates make torchvision take another way."""
    rules = replace(RULES, nms_iou=0.7, cross_class_iou=1.0, max_detections=9999)
    kept = []
    for shift in np.arange(0.1, 4, 0.1):
        at = np.array([7000.0, 4000.0, 7010.0, 4010.0])
        boxes = [at, at + np.array([shift, 0, shift, 0])]
        others = [[20 * n, 0, 20 * n + 10, 10] for n in range(many // 10)] * 10
        found = select(
            placed([*boxes, *others], [0.9, 0.8] + [0.3] * many, [class_id] * 2 + [1201] * many),
            (4320, 7680),
            rules,
        )
        near = found.boxes_xyxy[found.class_ids == class_id]
        kept.append(len(near))
        iou = (10 - shift) / (10 + shift)
        assert len(near) == (1 if iou > 0.7 else 2), f"shifted by {shift:.1f} px"
    assert {1, 2} == set(kept)


def test_boxes_of_two_classes_at_one_place_are_both_kept():
    at = [7000.0, 4000.0, 7010.0, 4010.0]
    rules = replace(RULES, cross_class_iou=1.0)
    found = select(placed([at, at], [0.9, 0.8], [1201, 1202]), (4320, 7680), rules)
    assert found.class_ids.tolist() == [1201, 1202]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_token_scores_are_pooled_phrase_by_phrase(tiny_dino, pooling, monkeypatch):
    monkeypatch.setattr(tiny_dino, "_pooling", pooling)
    caption = tiny_dino.caption(["red circle", "square", "very large green triangle"])
    scores = torch.rand(2, 7, len(caption.token_ids), generator=torch.Generator().manual_seed(1))
    pooled = tiny_dino._pool(scores, caption)
    assert pooled.shape == (2, 7, 3)
    for phrase, (start, end) in enumerate(caption.spans):
        of_phrase = scores[..., start:end]
        whole = of_phrase.amax(-1) if pooling == "max" else of_phrase.mean(-1)
        torch.testing.assert_close(pooled[..., phrase], whole)


def test_of_synonyms_the_best_counts_unless_a_negative_is_better():
    classes = ClassList(
        (ClassSpec("cat", ("cat", "kitten"), ("dog", "fox")), ClassSpec("car", ("car",)))
    )
    phrases = Phrases.of(classes, [0, 1])
    assert phrases.texts == ("cat", "kitten", "dog", "fox", "car")
    scores = torch.tensor(
        [
            [0.2, 0.6, 0.1, 0.3, 0.0],
            [0.5, 0.2, 0.1, 0.7, 0.4],  # a fox
            [0.05, 0.0, 0.0, 0.0, 0.9],
        ]
    )
    query, best, class_ids, texts = phrases.best(scores, 0.1)
    assert (query.tolist(), class_ids.tolist(), texts) == (
        [0, 1, 2],
        [0, 1, 1],
        ["kitten", "car", "car"],
    )
    torch.testing.assert_close(best, torch.tensor([0.6, 0.4, 0.9]))


def test_text_encoder_runs_once_per_caption(tiny_dino):
    grounder = detector(tiny_dino, load_prompts(["white star", "black cross"]))
    before = tiny_dino._memo.passes
    for seed in range(3):
        grounder.find(frames(scene(seed).image, scene(seed + 1).image))
    assert tiny_dino._memo.passes == before + 1


def test_memo_changes_nothing(tiny_dino):
    caption = tiny_dino.caption(PHRASES)
    pixels = tiny_dino.prepare(scene(1).image)[None]
    remembered = tiny_dino.score(pixels, caption)
    remembered = tiny_dino.score(pixels, caption)
    inner, memo = tiny_dino._model.model, tiny_dino._memo
    inner.text_backbone = memo.encoder
    try:
        plain = tiny_dino.score(pixels, caption)
    finally:
        inner.text_backbone = memo
    for one, two in zip(remembered, plain, strict=True):
        assert torch.equal(one, two)


def test_caption_is_what_the_processor_writes(tiny_dino):
    text = "red circle. blue square. green triangle."
    expected = tiny_dino._tokenizer(text)["input_ids"]
    caption = tiny_dino.caption(PHRASES[:3])
    assert list(caption.token_ids) == expected
    words = [tiny_dino._tokenizer.decode(caption.token_ids[a:b]) for a, b in caption.spans]
    assert words == PHRASES[:3]


@pytest.mark.parametrize("phrase", ["no. 5 sign", "t.v.", "what?", "a.b?c."])
def test_separators_inside_a_phrase_do_not_break_it(tiny_dino, phrase):
    caption = tiny_dino.caption(["red circle", phrase, "blue square"])
    separators = tiny_dino._separators
    for start, end in caption.spans:
        assert end > start and not separators & set(caption.token_ids[start:end])
    marks = [i for i, t in enumerate(caption.token_ids) if t in separators]
    assert marks == [0, *(end for _, end in caption.spans), len(caption.token_ids) - 1]


def test_a_phrase_of_nothing_is_refused(tiny_dino):
    with pytest.raises(PromptError, match=r"phrase '\?\.\.': no letter or digit"):
        detector(tiny_dino, load_prompts(["?.."]))


@pytest.mark.parametrize("phrase", ["\U0001f697", "แมว", "犬 \U0001f697"])
def test_a_phrase_that_the_tokenizer_does_not_know_is_refused(tiny_dino, phrase):
    with pytest.raises(
        PromptError, match=f"phrase '{phrase}': the model's tokenizer knows no part"
    ):
        detector(tiny_dino, load_prompts(["red circle", f"vehicle: {phrase}"]))


def test_a_phrase_that_it_knows_in_part_is_said_once(tiny_dino, caplog):
    detector(tiny_dino, load_prompts(["red \U0001f697", "blue square"]))
    assert [r.getMessage() for r in caplog.records] == [
        "phrase 'red \U0001f697': the model's tokenizer knows only a part of it"
    ]


def test_underscores_and_hyphens_of_phrases_are_blanks(tiny_dino):
    for phrase in ("red_circle", "red-circle", "Red_Circle", "_red circle_"):
        assert tiny_dino.tokenize(phrase) == tiny_dino.tokenize("red circle")
    (chunk,) = Captions(tiny_dino, load_prompts(["red_circle"])).chunks
    assert chunk.texts == ("red_circle",), "it is recorded as written"


def test_synonyms_share_a_class_and_say_which_phrase_found_it(tiny_dino):
    classes = load_prompts(["round: purple cross, red circle", "blue square"])
    grounder = detector(tiny_dino, classes)
    hits = 0
    for seed in range(80, 90):
        drawn = scene(seed)
        (found,) = grounder.find(frames(drawn.image))
        assert set(found.class_ids.tolist()) <= {0, 1}
        for shown in drawn.objects:
            if shown.phrase != "red circle":
                continue
            near = np.abs(found.boxes_xyxy - np.array(shown.box_xyxy)).max(1) < 10
            assert near.sum() <= 1, "one object, two detections"
            hits += any(found.phrases[i] == "red circle" for i in np.flatnonzero(near))
    assert hits >= 3


def test_negatives_speak_against_their_class(tiny_dino):
    classes = ClassList((ClassSpec("cat", ("tabby", "kitten"), negatives=("dog",)),))
    (chunk,) = Captions(tiny_dino, classes).chunks
    assert chunk.texts == ("tabby", "kitten", "dog")
    scores = torch.tensor([[0.6, 0.2, 0.5], [0.2, 0.4, 0.5], [0.2, 0.4, 0.3], [0.0, 0.05, 0.0]])
    queries, found, class_ids, texts = chunk.best(scores, RULES.floor)
    assert queries.tolist() == [0, 2] and class_ids.tolist() == [0, 0]
    assert found.tolist() == pytest.approx([0.6, 0.4])
    assert texts == ["tabby", "kitten"]


def test_long_lists_are_split_evenly_on_class_boundaries(tiny_dino):
    names = [f"{c} {s}{i}" for i in range(6) for c in ("red", "blue") for s in ("circle", "square")]
    names += [f"{w}: {w} a, {w} b, {w} c" for w in ("star", "cross", "ring")]
    classes = load_prompts(names * 1 + [f"thing{i:03d}" for i in range(90)])
    chunks = split_classes(tiny_dino, classes)
    assert [i for chunk in chunks for i in chunk] == list(range(len(classes)))
    cost = [
        sum(len(tiny_dino.tokenize(p)) + 1 for i in chunk for p in classes.classes[i].phrases)
        for chunk in chunks
    ]
    assert len(chunks) > 2
    assert max(cost) <= tiny_dino.token_budget
    assert min(cost[:-1]) > 0.85 * max(cost)
    assert cost[-1] > 0.5 * max(cost)


def test_split_lists_merge_to_the_right_classes(tiny_dino):
    filler = [f"thing{i:03d}" for i in range(60)]
    classes = load_prompts([PHRASES[0], PHRASES[1], *filler, *PHRASES[2:]])
    captions = Captions(tiny_dino, classes)
    assert len(captions.chunks) > 1
    grounder = detector(tiny_dino, classes)
    right = total = 0
    for seed in range(40, 50):
        drawn = scene(seed)
        (found,) = grounder.find(frames(drawn.image))
        for shown in drawn.objects:
            total += 1
            near = np.abs(found.boxes_xyxy - np.array(shown.box_xyxy)).max(1) < 10
            names = {classes.names[i] for i in found.class_ids[near]}
            right += shown.phrase in names
    assert right >= 0.6 * total, f"{right} of {total}"


def test_a_class_beyond_the_budget_is_refused(tiny_dino):
    phrases = ", ".join(f"thing number {i}" for i in range(100))
    with pytest.raises(PromptError, match="class 'x': its 100 phrases take"):
        detector(tiny_dino, load_prompts([f"x: {phrases}"]))


def test_one_object_under_two_names_is_one_detection(tiny_dino):
    classes = load_prompts(["red circle", "circle", "red object"])
    grounder = detector(tiny_dino, classes)
    drawn = draw_still(7, (256, 256), combos=[("red", "circle")], min_objects=1, max_objects=1)
    (found,) = grounder.find(frames(drawn.image))
    near = np.abs(found.boxes_xyxy - np.array(drawn.objects[0].box_xyxy)).max(1) < 10
    assert near.sum() == 1
    # The names it lost to are near it in score, and a class without rivals has all of its score.
    assert 0 <= found.margins[near] < found.scores[near]
    (alone,) = detector(tiny_dino, load_prompts(["red circle"])).find(frames(drawn.image))
    assert np.array_equal(alone.margins, alone.scores)


def test_boxes_stay_inside_and_the_floor_holds(tiny_dino):
    grounder = detector(tiny_dino, load_prompts(PHRASES))
    for size in [(257, 131), (64, 64), (700, 90)]:
        (found,) = grounder.find(frames(scene(5, size).image))
        if len(found):
            assert found.boxes_xyxy.min() >= 0
            assert (found.boxes_xyxy[:, 2:] <= np.array(size)).all()
            assert found.scores.min() >= RULES.floor
            assert (np.diff(found.scores) <= 0).all()


def test_an_image_without_objects_gives_none(tiny_dino):
    grounder = detector(tiny_dino, load_prompts(PHRASES))
    (found,) = grounder.find(frames(np.full((192, 192, 3), 120, np.uint8)))
    assert len(found.scores[found.scores > 0.3]) == 0
    assert found.boxes_xyxy.shape == (len(found), 4)


class Fixed(Grounder):
    """A grounder that finds what it was told, as numpy arrays."""

    def __init__(self, *boxes, scores, class_ids=None) -> None:
        self._found = Candidates(
            np.array(boxes, float).reshape(-1, 4),
            scores,
            class_ids or [0] * len(scores),
            [f"phrase {n}" for n in range(len(scores))],
        )

    def load(self, classes):
        """Nothing to be loaded."""

    def find(self, images, floor):
        return [self._found for _ in images]


def selected(*boxes, settings=RULES, **rest):
    blank = np.zeros((100, 200, 3), np.uint8)
    (found,) = Detector(Fixed(*boxes, **rest), settings).find(frames(blank))
    return found


def test_any_grounders_boxes_are_clipped_sorted_and_cut_at_the_floor():
    found = selected((-5, 10, 30, 40), (150, 50, 300, 120), (1, 1, 9, 9), scores=[0.2, 0.6, 0.05])
    assert found.boxes_xyxy.tolist() == [[150, 50, 200, 100], [0, 10, 30, 40]]
    assert found.scores.tolist() == pytest.approx([0.6, 0.2])
    assert found.phrases == ("phrase 1", "phrase 0")
    assert found.boxes_xyxy.dtype == np.float32 and found.class_ids.dtype == np.int32


def test_a_box_without_a_pixel_is_none():
    assert len(selected((5, 5, 5.4, 50), (300, 0, 400, 90), scores=[0.9, 0.9])) == 0
    assert len(selected(scores=[])) == 0


def test_one_class_keeps_the_best_of_two_and_another_class_its_own():
    boxes = (0, 0, 50, 50), (0, 0, 50, 48), (0, 0, 50, 46)
    found = selected(*boxes, scores=[0.5, 0.9, 0.4], class_ids=[0, 0, 1])
    assert found.phrases == ("phrase 1",), "nearly one box, under two names, is one object"
    assert found.margins.tolist() == pytest.approx([0.5])
    apart = replace(RULES, cross_class_iou=0.99)
    found = selected(*boxes, settings=apart, scores=[0.5, 0.9, 0.4], class_ids=[0, 0, 1])
    assert found.phrases == ("phrase 1", "phrase 2")


def test_only_so_many_are_kept():
    boxes = [(x, 0, x + 8, 8) for x in range(0, 100, 10)]
    few = replace(RULES, max_detections=3)
    found = selected(*boxes, settings=few, scores=[n / 10 for n in range(10)])
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_settings_name_what_is_out_of_range():
    good = {"every": 1, "nms_iou": 0.7, "cross_class_iou": 0.9, "max_detections": 1, "batch": 0}
    with pytest.raises(ConfigError, match=r"ground\.floor=1\.5: expected 0\.\.1"):
        checked(GroundSettings, {"floor": 1.5, **good}, "ground")
    own = {"model": "x", "revision": None, "device": "cpu"}
    with pytest.raises(ConfigError, match=r"ground\.pooling=median: expected one of mean, max"):
        checked(GroundingDino, {"pooling": "median", **own}, "ground")
