"""Where memory runs out, less is done at a time, and the records stay the same."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, RunnerSettings
from annotate.data.types import Frame, FrameRecord, Item
from annotate.decode.read_ahead import decode_ahead
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError
from annotate.ground import select
from annotate.ground.grounding_dino.scorer import PhraseScorer
from annotate.models.memory_limit import CALM, MemoryLimit
from annotate.record.run_folder import Run
from annotate.report.video_writer import VideoWriter
from annotate.runner.build import build_worker
from annotate.runner.pipeline import Pipeline, VideoPass
from annotate.runner.units import Unit
from annotate.runner.worker import Feed, Worker, _annotated
from annotate.segment import finishing
from annotate.segment.sam2 import Sam2
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.segment.video import VideoSegmenter
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.track import observations
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


def test_one_row_is_tried_again_once_what_can_be_freed_was():
    memory, limit = Scarce(fits=0), MemoryLimit("rows")

    def freed(rows):
        memory.fits = len(memory.sizes)  # of the second try on
        return memory(rows)

    assert [row for done in limit.slices(range(1), freed) for row in done] == [0]
    assert memory.sizes == [1, 1]
    assert MemoryLimit("rows").alone(lambda: "whole") == "whole"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Allocation on device"),
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((9, 9), np.dtype(float)),
        cv2.error(
            "OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate"
        ),
        *map(
            RuntimeError,
            [
                "CUDA out of memory. Tried to allocate 20 MiB",
                "CUDA error: out of memory",
                "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1 GB)",
                "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)",
                "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes.",
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
                "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
                "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
                "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
                "Unable to find an engine to execute this computation",
                "GET was unable to find an engine to execute this computation",
                "std::bad_alloc",
            ],
        ),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_known_by_whatever_says_so(error):
    sizes = []

    def work(rows):
        sizes.append(len(rows))
        if len(rows) > 1:
            raise error

    list(MemoryLimit("rows").slices(range(2), work))
    assert sizes == [2, 1, 1]


def test_no_more_rows_at_a_time_than_asked_for():
    memory = Scarce(fits=99)
    list(MemoryLimit("rows").slices(range(10), memory, most=4))
    assert memory.sizes == [4, 4, 2]


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


def made_pipeline(tiny_dino, tiny_segmenter, *, every: int = 1) -> Pipeline:
    finder = detector(tiny_dino, load_prompts(["red circle", "blue square"]))
    return Pipeline(finder, tiny_segmenter, segment=SEGMENT, track=TRACK, every=every, batch=1)


@pytest.fixture
def pipeline(tiny_dino, tiny_segmenter) -> Pipeline:
    return made_pipeline(tiny_dino, tiny_segmenter)


COMBOS = [("red", "circle"), ("blue", "square")]


def ids(records) -> list[list[int]]:
    """Track ids, frame by frame."""
    return [[i.track_id for i in r.instances] for r in records]


def stills(count: int) -> list[Frame]:
    return [
        Frame(Item(f"{n}.png", None), draw_still(n, (96, 96), combos=COMBOS).image)
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
    boxes = short_of(
        monkeypatch, Sam2Image, "decode_all", fits=1, rows=lambda _, boxes: sum(map(len, boxes))
    )
    same(pipeline.stills(frames), expected)
    assert max(images) == 6 and max(boxes) >= 2


def failing(monkeypatch, place: tuple, when) -> list[int]:
    """Have a function run out of memory where `when` says so of the number of the call."""
    owner, name = place
    whole, calls = getattr(owner, name), []

    def scarce(*args, **options):
        calls.append(len(calls))
        if when(calls[-1]):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(*args, **options)

    monkeypatch.setattr(owner, name, scarce)
    return calls


OF_STILLS = {
    "uploading": (PhraseScorer, "prepare"),
    "grounding": (PhraseScorer, "score"),
    "selecting": (select, "nms"),
    "embedding": (Sam2Image, "embed_all"),
    "decoding": (Sam2Image, "decode_all"),
    "upsampling": (finishing, "crops"),
    "cleaning": (finishing.geometry, "clean_mask"),
    "encoding": (finishing.geometry, "encode_crop"),
    "joining": (finishing.torch, "cat"),
}
OF_VIDEOS = OF_STILLS | {
    "comparing": (observations.functional, "interpolate"),
    "carrying": (Sam2Memory, "carry"),
    "remembering": (Sam2Memory, "encode"),
    "prompting": (Sam2Memory, "seed_masks"),
}


@pytest.mark.parametrize("place", OF_STILLS)
def test_memory_that_runs_out_once_anywhere_costs_no_still(pipeline, monkeypatch, place):
    frames = stills(3)
    expected = pipeline.stills(frames)
    calls = failing(monkeypatch, OF_STILLS[place], lambda call: call == 0)
    found = list(_annotated(((f.item, f) for f in frames), pipeline, 3, lambda step: None))
    assert len(calls) > 1
    same(found, expected)


@pytest.mark.parametrize("place", OF_STILLS)
def test_memory_that_is_never_enough_costs_the_still_alone(pipeline, monkeypatch, place):
    """Nothing fits until a record is made, then all does."""
    frames, made = stills(3), []
    failing(monkeypatch, OF_STILLS[place], lambda call: not made)
    found = list(_annotated(((f.item, f) for f in frames), pipeline, 1, made.append))
    assert [r.item for r in found] == [f.item.name for f in frames]
    assert found[0].status == "failed" and found[2].status == "ok"
    assert found[0].error.startswith("out of memory: ")


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


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Four frames with a few objects."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    made = Clip(4, (160, 120), combos=COMBOS, objects=4)
    with VideoWriter(path, size_wh=(160, 120), fps=25) as video:
        for t in range(4):
            video.add(made.frame(t).image, t / 25)
    return path


def of_video(clip: Path, pipeline: Pipeline, folder: Path) -> list[FrameRecord]:
    """The records of a worker that annotates a clip."""
    runner = RunnerSettings(
        part_items=9,
        workers=1,
        ahead=1,
        threads=0,
        checkpoint_frames=500,
        max_ram_gb=None,
        progress_s=30.0,
    )
    feed = Feed(batch=1, max_pixels=10**9, stride=1, runner=runner)
    run = Run.start(folder, clip.parent, load_prompts(["red circle"]), {})
    unit = Unit(0, (Item(clip.name, clip, "video"),))
    Worker(pipeline, feed, {}).run([unit], run, {}, lambda step: None)
    return list(run.frames())


@pytest.fixture(scope="module")
def whole(clip, tiny_dino, tiny_segmenter, tmp_path_factory) -> list[FrameRecord]:
    """What they come to with memory enough."""
    made = made_pipeline(tiny_dino, tiny_segmenter)
    return of_video(clip, made, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("place", [p for p in OF_VIDEOS if p != "joining"])
def test_memory_that_runs_out_once_anywhere_costs_no_frame_of_a_video(
    pipeline, clip, whole, monkeypatch, place, tmp_path
):
    assert min(len(r.instances) for r in whole) >= 2
    calls = failing(monkeypatch, OF_VIDEOS[place], lambda call: call == 0)
    found = of_video(clip, pipeline, tmp_path)
    assert len(calls) > 1
    same(found, whole)
    assert ids(found) == ids(whole)


@pytest.mark.parametrize("place", OF_VIDEOS)
def test_memory_that_is_never_enough_breaks_off_the_video_alone(
    pipeline, clip, monkeypatch, place, tmp_path
):
    failing(monkeypatch, OF_VIDEOS[place], lambda call: True)
    (broken,) = (r for r in of_video(clip, pipeline, tmp_path) if r.status == "failed")
    assert broken.error.startswith("out of memory: ")


@pytest.mark.parametrize("every", [1, 4])
def test_a_video_that_breaks_off_keeps_the_frames_before(
    tiny_dino, tiny_segmenter, clip, whole, monkeypatch, every, tmp_path
):
    failing(monkeypatch, (Sam2Image, "embed_all"), lambda call: call >= 3)
    pipeline = made_pipeline(tiny_dino, tiny_segmenter, every=every)
    *kept, broken = of_video(clip, pipeline, tmp_path)
    assert [r.frame_index for r in kept] == [0, 1, 2] and (broken.frame_index == 3)
    assert broken.status == "failed" and broken.frame_id.endswith("#000003")
    assert [r.status for r in kept] == ["ok"] * 3 and len(kept[2].instances) >= 2
    assert kept[0].instances[0].mask == whole[0].instances[0].mask


def test_models_that_do_not_fit_are_a_line(monkeypatch):
    failing(monkeypatch, (Sam2, "load"), lambda call: True)
    argv = ["dataset=.", "prompts=[red circle]", "models=tiny", "device=cpu"]
    with pytest.raises(ConfigError, match="device=cpu: the models themselves do not fit"):
        build_worker(typed(compose(argv, "config"), AnnotateCommand), load_prompts(["red circle"]))


def test_objects_of_a_video_in_groups_are_the_same_tracks(tiny_dino, tiny_segmenter, monkeypatch):
    clip = Clip(4, (160, 120), combos=COMBOS, objects=4)
    frames = [Frame(Item("a.mp4", None, "video"), clip.frame(t).image, t, t / 25) for t in range(8)]
    finder = detector(tiny_dino, load_prompts([" ".join(c) for c in COMBOS]))

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
    assert ids(found) == ids(expected)
    assert np.isclose(found[0].time_s, 0)
