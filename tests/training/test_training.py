"""The trainers learn, survive interruptions without a trace, and never see the figures' scenes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import HELD_OUT, TRAIN_COMBOS
from training import grounder, segmenter, segmenter_model, segmenter_scenes
from training.figures.clips import _returns
from training.figures.predictors import build_segmenter
from training.grounder_loss import Targets, phrase_tokens
from training.loop import (
    FIGURE_SEEDS,
    TRAINING_SEEDS,
    TUNING_SEEDS,
    Schedule,
    Trainer,
    scene_seed,
    step_stream,
)
from training.optimizer import Muon, build_optimizers
from training.prompts import KINDS, sample_prompt, say

SCHEDULE = Schedule(minutes=1e6, steps=1000, lr=1e-3, lr_end=1e-5, warmup_steps=2)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in a fixed order, so that two runs can be compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_task(monkeypatch):
    """Both tasks with batches small enough for a test."""
    monkeypatch.setattr(grounder, "_BATCHES", (((96, 64), 2),))
    monkeypatch.setattr(segmenter_scenes, "_IMAGES", 1)
    monkeypatch.setattr(segmenter, "_CLIP_STAGES", ((0.0, 0.5, 1, 3),))
    return {"grounder": grounder.GrounderTask, "segmenter": segmenter.SegmenterTask}


@pytest.mark.parametrize("name", ["grounder", "segmenter"])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    name, make_task, tmp_path
):
    whole = make_task[name]()
    Trainer(whole, SCHEDULE, tmp_path / "whole").run(until_step=4)
    Trainer(make_task[name](), SCHEDULE, tmp_path / "halves").run(until_step=2)
    resumed = make_task[name]()
    trainer = Trainer(resumed, SCHEDULE, tmp_path / "halves")
    assert trainer.step == 2
    trainer.run(until_step=4)
    assert trainer.step == 4
    assert_equal(resumed.model.state_dict(), whole.model.state_dict())
    saved = torch.load(tmp_path / "whole/checkpoint.pt", weights_only=True)
    assert_equal(trainer.average, saved["average"])


def assert_equal(state, expected):
    assert state.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(state[name], expected[name])]
    assert not different


@pytest.mark.parametrize("name", ["grounder", "segmenter"])
def test_losses_are_finite_and_reach_the_weights(name, make_task):
    task = make_task[name]()
    for step in range(3):
        loss, report = task.loss(step_stream(step), 0.5)
        assert math.isfinite(loss.item())
        assert report
        loss.backward()
    gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)


def test_an_exported_grounder_loads_offline_and_names_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task = grounder.GrounderTask()
    task.export(task.model.state_dict(), tmp_path)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(tmp_path)
    assert_equal(model.state_dict(), task.model.state_dict())
    ids = AutoProcessor.from_pretrained(tmp_path).tokenizer("red circle. ring.")["input_ids"]
    assert ids == task.processor.tokenizer("red circle. ring.")["input_ids"]
    for path in tmp_path.glob("*.json"):
        text = path.read_text()
        assert str(tmp_path) not in text
        assert not {"_name_or_path", "is_local", "local_files_only"} & set(json.loads(text))


def test_an_exported_segmenter_loads_strictly(tmp_path):
    task = segmenter.SegmenterTask()
    task.export(task.model.state_dict(), tmp_path)
    model = build_segmenter(tmp_path, "sam2.sam2_video_predictor.SAM2VideoPredictor")
    assert_equal(model.state_dict(), task.model.state_dict())


def test_the_sets_of_seeds_do_not_touch():
    assert not set(FIGURE_SEEDS) & set(TUNING_SEEDS)
    assert max(*FIGURE_SEEDS, *TUNING_SEEDS) < TRAINING_SEEDS.start
    assert all(scene_seed(step_stream(step)) in TRAINING_SEEDS for step in range(1000))


def test_the_schedule_warms_up_and_cools_down():
    schedule = Schedule(minutes=10, steps=100, lr=1.0, lr_end=0.1, warmup_steps=10)
    assert schedule.progress(step=50, seconds=60) == 0.5
    assert schedule.progress(step=50, seconds=540) == 0.9
    rates = [schedule.lr_at(step, step / 100) for step in range(101)]
    assert rates[0] < rates[5] < max(rates)
    assert rates[100] == pytest.approx(0.1)


def test_clips_to_learn_from_begin_with_their_objects_and_lose_some():
    gone = shown = 0
    for step in range(12):
        batch = segmenter_scenes.draw_clips(step_stream(step), clips=2, frames=6)
        there = batch.masks_tkhw.any((2, 3))
        assert there[0].all(), "the prompt needs the object"
        gone, shown = gone + (~there).sum(), shown + there.sum()
    assert 0.08 < gone / (gone + shown) < 0.4


def test_hidden_objects_are_not_asked_for():
    hidden = 0
    for seed in range(40):
        scene = Clip(seed, (192, 192), occluder=True).frame(20)
        asked = grounder._worth_finding(scene, (192, 192))
        hidden += len(scene.objects) - len(asked)
        assert all(o.area >= 0.3 * o.full_area and o.area >= 25 for o in asked)
    assert hidden


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_describe_exactly_the_objects_they_name(kind):
    for seed in range(40):
        objects = draw_still(seed, (96, 96)).objects
        prompt = sample_prompt(np.random.default_rng(seed), objects, limit=10, kind=kind)
        assert 0 < len(set(prompt.phrases)) == len(prompt.phrases) <= 10
        for row, item in zip(prompt.describes, objects, strict=True):
            for phrase, describes in zip(prompt.phrases, row, strict=True):
                words = set(phrase.split()) - {"object"}
                known = {item.colour, item.shape, item.material, item.size}
                assert describes == (words <= known)


def test_training_prompts_never_ask_for_a_held_out_combination():
    held_out = {f"{colour} {shape}" for colour, shape in HELD_OUT}
    for seed in range(30):
        objects = draw_still(seed, (96, 96)).objects
        rng = np.random.default_rng(seed)
        prompt = sample_prompt(rng, objects, limit=48, kind="mixed", fill=True)
        assert len(prompt.phrases) == 48
        assert not held_out & set(prompt.phrases)
    assert len(TRAIN_COMBOS) == 120


def test_phrases_are_said_in_other_words_that_the_tokenizer_knows():
    tokenizer = grounder.build_processor().tokenizer
    rng = np.random.default_rng(0)
    said = {say(rng, "large gray circle") for _ in range(200)}
    assert {"big gray circle", "large grey disk", "large gray circles"} <= said
    words = {word for phrase in said for word in phrase.split() if not word.endswith("s")}
    assert all(len(tokenizer.tokenize(word)) == 1 for word in words)


def test_muon_steps_have_orthogonal_directions_of_the_size_of_adamw():
    torch.manual_seed(0)
    shapes = [(48, 32), (32, 96), (48, 32)]
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    before = [m.detach().clone() for m in matrices]
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape)
    Muon(matrices, lr=0.1, weight_decay=0.0).step()
    for matrix, old in zip(matrices, before, strict=True):
        step = (old - matrix.detach()) / 0.1
        values = torch.linalg.svdvals(step)
        assert values.max() / values.min() < 2
        assert step.pow(2).mean().sqrt() == pytest.approx(0.2, rel=0.25)


def test_every_weight_has_one_optimizer():
    for task in (grounder.GrounderTask(), segmenter.SegmenterTask()):
        groups = [g for o in build_optimizers(task.model) for g in o.param_groups]
        given = [id(p) for group in groups for p in group["params"]]
        assert sorted(given) == sorted(id(p) for p in task.model.parameters())


def test_targets_mark_the_tokens_of_every_phrase_that_fits():
    tokenizer = grounder.build_processor().tokenizer
    text = tokenizer(["red circle. ring.", "ring."], padding=True, return_tensors="pt")
    spans = phrase_tokens(text["input_ids"][0])
    assert spans.int().tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]]
    boxes = [np.full((2, 4), 0.25, np.float32), np.full((1, 4), 0.75, np.float32)]
    describes = [np.array([[False, False], [True, True]]), np.array([[True]])]
    targets = Targets.build(text["input_ids"], boxes, describes)
    assert targets.real_bk.tolist() == [[True], [True]]
    assert targets.tokens_bkn[:, 0].int().tolist() == [[0, 1, 1, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
    assert targets.boxes_bk4[:, 0, 0].tolist() == [0.25, 0.75]
    assert targets.text_bn[1].tolist() == [True] * 4 + [False] * 3


def test_a_return_counts_when_it_lasts():
    gone = [None] * 3
    assert list(_returns([0.9, *gone, 0.0, 0.0, 0.6, 0.9, 0.9, 0.9])) == [True]
    assert list(_returns([0.9, *gone, 0.0, 0.1, 0.2, 0.3, 0.4, 0.9])) == [False]
    assert list(_returns([0.9, *gone, 0.9, 0.9, *gone, 0.8])) == []
    assert list(_returns([None, *[0.7] * 5, None, *[0.1] * 5])) == [True, False]


def test_the_shipped_weights_are_small_and_fit_the_training_code():
    tiny = Path(segmenter_model.YAML).parents[1]
    assert sum(p.stat().st_size for p in tiny.rglob("*") if p.is_file()) < 15_000_000
    grounder.GrounderTask(tiny / "grounder")
    segmenter.SegmenterTask(tiny / "segmenter/sam2.1_tiny.pt")
