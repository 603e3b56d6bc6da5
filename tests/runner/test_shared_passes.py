"""What a GPU does, seen on a CPU: pictures that share passes, and what a device is asked for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.data.types import Frame, Item
from annotate.discover.class_list import load_prompts
from annotate.runner import pipeline as module
from annotate.runner.pipeline import Pipeline
from annotate.segment.base import Segmenter
from annotate.segment.sam2 import image
from annotate.segment.sam2.image import Sam2Image
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from tests.ground.detectors import detector
from tests.settings import SEGMENT, TRACK

COMBOS = [("red", "circle"), ("blue", "square")]
FRAMES = 14


def pipeline(tiny_dino, tiny_segmenter, *, every: int = 1, batch: int = 1) -> Pipeline:
    finder = detector(tiny_dino, load_prompts([" ".join(c) for c in COMBOS]))
    return Pipeline(finder, tiny_segmenter, segment=SEGMENT, track=TRACK, every=every, batch=batch)


@pytest.fixture
def sharing(monkeypatch):
    """How many pictures each pass of the encoder had, while it shares passes as on a GPU."""
    monkeypatch.setattr(image, "shares_passes", lambda device: True)
    passes: list[int] = []
    whole = Sam2Image.embed_all

    def watched(self, images):
        passes.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(Sam2Image, "embed_all", watched)
    return passes


def same(found, plain) -> None:
    """The same objects with the same ids; boxes within half a pixel, masks at 0.99 IoU or more."""
    assert [r.frame_id for r in found] == [r.frame_id for r in plain]
    for one, two in zip(found, plain, strict=True):
        assert [(i.class_id, i.track_id, i.origin) for i in one.instances] == [
            (i.class_id, i.track_id, i.origin) for i in two.instances
        ]
        for a, b in zip(one.instances, two.instances, strict=True):
            np.testing.assert_allclose(a.box_xyxy, b.box_xyxy, atol=0.5)
            mine, other = a.mask.decode(), b.mask.decode()
            assert (mine & other).sum() >= 0.99 * (mine | other).sum()
            assert a.score == pytest.approx(b.score, abs=1e-4)
            assert a.mask_score == pytest.approx(b.mask_score, abs=1e-3)


def test_stills_that_share_passes_have_the_same_records(tiny_dino, tiny_segmenter, sharing):
    sizes = [(96, 96), (96, 96), (96, 96), (96, 96)]
    frames = [
        Frame(Item(f"{n}.png", None), draw_still(n, size, combos=COMBOS).image)
        for n, size in enumerate(sizes)
    ]
    one_by_one = pipeline(tiny_dino, tiny_segmenter)
    plain = [record for frame in frames for record in one_by_one.stills([frame])]
    assert sharing == [1] * 4 and sum(len(r.instances) for r in plain) >= 6
    same(one_by_one.stills(frames), plain)
    assert sharing[4:] == [4]


def clip_frames() -> list[Frame]:
    clip = Clip(4, (160, 120), combos=COMBOS, objects=4)
    item = Item("a.mp4", None, "video")
    return [Frame(item, clip.frame(t).image, t, t / 25) for t in range(FRAMES)]


@pytest.mark.parametrize("every", [1, 3])
def test_a_video_whose_frames_share_passes_has_the_same_tracks(
    tiny_dino, tiny_segmenter, sharing, every
):
    def records(batch: int):
        passing = pipeline(tiny_dino, tiny_segmenter, every=every, batch=batch).video(clip_frames())
        return list(passing.settled(list(passing.provisional())))

    plain = records(1)
    assert max(sharing) == 1 and max(len(r.instances) for r in plain) >= 2
    same(records(4), plain)
    assert max(sharing) == 4


def test_a_frame_that_does_not_fit_costs_none_of_those_it_shares_a_pass_with(
    tiny_dino, tiny_segmenter, sharing, monkeypatch
):
    """Frame 5 is too much for the encoder: 0 to 4 are handed out, though 4 shares its pass."""
    frames = clip_frames()
    whole = Sam2Image.embed_all

    def short(self, images):
        if any(shown is frames[5].image for shown in images):
            raise MemoryError("out of memory")
        return whole(self, images)

    monkeypatch.setattr(Sam2Image, "embed_all", short)
    passing = pipeline(tiny_dino, tiny_segmenter, batch=4).video(frames)
    handed_out = []
    with pytest.raises(MemoryError):
        for record in passing.provisional():
            handed_out.append(record.frame_index)
    assert handed_out == [0, 1, 2, 3, 4]


def test_a_device_is_sent_little_and_waited_for_less():
    """A picture is sent once; 4 waits at most, and of operator calls half of what there were."""
    command = [sys.executable, "-m", "bench.device_calls", "--json", "--every", "1"]
    command += ["--objects", "3"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    stills, video = rows
    assert stills["waits"] <= 4 and stills["uploads"] <= 8 + 6, stills
    assert video["waits"] <= 4 and video["calls"] <= 1550, video


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (10_000, 8)])
def test_few_frames_wait_for_their_masks_and_none_is_missing(
    tiny_dino, tiny_segmenter, monkeypatch, limit, most
):
    monkeypatch.setattr(module, "WAITING_MASKS", limit)
    passing = pipeline(tiny_dino, tiny_segmenter).video(clip_frames())
    seen, waiting = [], []
    for record in passing.provisional():
        seen.append(record.frame_index)
        waiting.append(passing.waiting)
    assert seen == list(range(FRAMES)) and max(waiting) == most


def test_what_waits_can_be_asked_for_and_is_not_handed_out_again(tiny_dino, tiny_segmenter):
    passing = pipeline(tiny_dino, tiny_segmenter, every=2).video(clip_frames())
    seen = []

    def at_rest() -> None:
        seen.extend(record.frame_index for record in passing.rest())
        assert passing.waiting == 0

    for record in passing.provisional(at_rest=at_rest):
        seen.append(record.frame_index)
    assert seen == list(range(FRAMES))


class Threshold(Segmenter):
    """A segmenter of somebody else's, whose embeddings are arrays: what is bright is the object."""

    def load(self) -> None:
        """Nothing to be loaded."""

    def embed(self, images):
        return [shown.mean(2) for shown in images]

    def decode(self, embedding, boxes):
        masks = np.zeros((len(boxes), *embedding.shape), np.float32)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y0:y1, x0:x1] = 1
        return torch.from_numpy(masks * 2 - 1), torch.ones(len(boxes))


def test_whatever_a_segmenter_takes_for_an_embedding_shares_passes(tiny_dino):
    def records(batch: int):
        passing = pipeline(tiny_dino, Threshold(), every=2, batch=batch).video(clip_frames())
        return list(passing.settled(list(passing.provisional())))

    plain = records(1)
    assert max(len(r.instances) for r in plain) >= 2
    same(records(4), plain)
