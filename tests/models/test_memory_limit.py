"""Where memory runs out, less is done at a time, and the records stay the same."""

import numpy as np
import pytest
import torch

from annotate.data.types import Frame, Item
from annotate.decode.read_ahead import decode_ahead
from annotate.discover.class_list import load_prompts
from annotate.models.memory_limit import CALM, MemoryLimit
from annotate.runner.pipeline import Pipeline, VideoPass
from annotate.runner.worker import _annotated
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.segment.video import VideoSegmenter
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.track.tracker import VideoTracker
from tests.ground.detectors import detector
from tests.settings import SEGMENT, TRACK


class Scarce:
    """Memory for `fits` rows at a time; more raise what CUDA raises."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.sizes: list[int] = []

    def __call__(self, rows):
        self.sizes.append(len(rows))
        if len(rows) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return list(rows)


def test_halved_when_it_runs_out_and_kept_there():
    memory, limit = Scarce(fits=3), MemoryLimit("rows")
    assert [row for done in limit.slices(range(16), memory) for row in done] == list(range(16))
    assert memory.sizes[:3] == [16, 8, 4] and set(memory.sizes[3:]) == {2}
    memory.sizes.clear()
    list(limit.slices(range(4), memory))
    assert memory.sizes == [2, 2]


def test_regrown_when_it_has_sufficed_for_a_while():
    memory, limit = Scarce(fits=2), MemoryLimit("rows")
    list(limit.slices(range(4), memory))
    memory.fits = 99
    memory.sizes.clear()
    for _ in range(2 * CALM):
        list(limit.slices(range(8), memory))
    assert memory.sizes[0] == 2 and memory.sizes[-1] == 8


def test_a_row_that_does_not_fit_alone_is_said():
    with pytest.raises(MemoryError, match="one of the rows alone does not fit"):
        list(MemoryLimit("rows").slices(range(4), Scarce(fits=0)))


def test_other_errors_are_not_taken_for_memory():
    def broken(rows):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(MemoryLimit("rows").slices(range(4), broken))


def test_a_ceiling_halves_before_anything_fails():
    memory, limit = Scarce(fits=99), MemoryLimit("rows", crowded=lambda: True)
    list(limit.slices(range(8), memory))
    assert memory.sizes[0] == 4 and memory.sizes[-1] == 1
    assert sum(memory.sizes) == 8


def test_nothing_is_read_ahead_while_memory_is_crowded(tmp_path):
    items = [Item(f"{n}.png", tmp_path / f"{n}.png") for n in range(6)]
    asked = []

    def listed():
        for item in items:
            asked.append(item.name)
            yield item

    reading = decode_ahead(listed(), workers=1, ahead=4, max_pixels=100, crowded=lambda: True)
    next(reading)
    assert asked == ["0.png"]
    assert len(list(reading)) == 5


def short_of(monkeypatch, owner, name: str, fits: int, rows) -> list[int]:
    """Have a method run out of memory where `rows` counts more than `fits` in its arguments."""
    whole, sizes = getattr(owner, name), []

    def scarce(self, first, *more, **options):
        counted = rows(first, *more)
        sizes.append(counted)
        if counted > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, first, *more, **options)

    monkeypatch.setattr(owner, name, scarce)
    return sizes


@pytest.fixture
def pipeline(tiny_dino, tiny_segmenter) -> Pipeline:
    finder = detector(tiny_dino, load_prompts(["red circle", "blue square"]))
    return Pipeline(finder, tiny_segmenter, segment=SEGMENT, track=TRACK, every=1, batch=1)


def stills(count: int) -> list[Frame]:
    combos = [("red", "circle"), ("blue", "square")]
    return [
        Frame(Item(f"{n}.png", None), draw_still(n, (96, 96), combos=combos).image)
        for n in range(count)
    ]


def same(found, expected) -> None:
    """Batches of another size round otherwise in the last bits; nothing else may differ."""
    assert [r.frame_id for r in found] == [r.frame_id for r in expected]
    for one, two in zip(found, expected, strict=True):
        assert [(i.class_id, i.instance_id) for i in one.instances] == [
            (i.class_id, i.instance_id) for i in two.instances
        ]
        for a, b in zip(one.instances, two.instances, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-4)
            assert (a.mask.decode() ^ b.mask.decode()).sum() <= 2


def test_stills_that_ran_out_of_memory_have_the_same_records(pipeline, tiny_dino, monkeypatch):
    frames = stills(6)
    expected = pipeline.stills(frames)
    assert sum(len(r.instances) for r in expected) >= 6
    images = short_of(
        monkeypatch, type(tiny_dino), "score", fits=2, rows=lambda pixels, _: len(pixels)
    )
    boxes = short_of(monkeypatch, Sam2Image, "decode", fits=1, rows=lambda _, boxes: len(boxes))
    same(pipeline.stills(frames), expected)
    assert max(images) == 6 and max(boxes) >= 2


def test_a_still_that_does_not_fit_at_all_costs_only_itself(pipeline, tiny_dino, monkeypatch):
    frames = stills(3)
    whole = type(tiny_dino).score

    def scarce(self, pixels, caption):
        if len(pixels) > 1 or torch.equal(pixels[0], self.prepare(frames[1].image)):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, pixels, caption)

    monkeypatch.setattr(type(tiny_dino), "score", scarce)
    decoded = ((frame.item, frame) for frame in frames)
    found = list(_annotated(decoded, pipeline, 3, lambda step: None))
    assert [r.status for r in found] == ["ok", "failed", "ok"]
    assert found[1].error == "out of memory: one of the images alone does not fit"


def test_objects_of_a_video_in_groups_are_the_same_tracks(tiny_dino, tiny_segmenter, monkeypatch):
    combos = [("red", "circle"), ("blue", "square")]
    clip = Clip(4, (160, 120), combos=combos, objects=4)
    frames = [Frame(Item("a.mp4", None, "video"), clip.frame(t).image, t, t / 25) for t in range(8)]
    finder = detector(tiny_dino, load_prompts([" ".join(c) for c in combos]))

    def records():
        tracker = VideoTracker(VideoSegmenter(tiny_segmenter), finder, TRACK, every=2, batch=1)
        passing = VideoPass(tracker, frames, SEGMENT)
        return list(passing.settled(list(passing.provisional())))

    expected = records()
    assert max(len(r.instances) for r in expected) >= 2
    for name, rows in (
        ("carry", lambda _, bank, ids, time: len(ids)),
        ("encode", lambda _, logits, present: len(logits)),
        ("seed_masks", lambda _, masks: len(masks)),
    ):
        short_of(monkeypatch, Sam2Memory, name, fits=1, rows=rows)
    found = records()
    same(found, expected)
    assert [[i.track_id for i in r.instances] for r in found] == [
        [i.track_id for i in r.instances] for r in expected
    ]
    assert np.isclose(found[0].time_s, 0)
