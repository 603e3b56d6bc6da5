"""What is clicked, as decisions of the page's run and of the dataset's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from annotate.data import geometry
from annotate.data.decisions import Decision
from annotate.data.types import FrameRecord, Instance, Rle
from annotate.errors import StorageError
from annotate.playground.corrections import Handover, Saved, added, rejected
from annotate.record.lock import one_writer
from annotate.record.run_folder import Run
from tests.small_runs import draw_stills
from tests.small_runs import run as run_command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Of some stills."""
    run_command(draw_stills(tmp_path / "pictures"), tmp_path / "run")
    return Run.open(tmp_path / "run")


def rle(pixels: npt.NDArray[np.bool_]) -> Rle:
    return Rle(geometry.encode_masks(pixels[None])[0], (pixels.shape[0], pixels.shape[1]))


def first(run: Run) -> tuple[FrameRecord, Instance]:
    """The surest object of the first picture that has one."""
    record = next(r for r in run.frames() if r.instances)
    return record, max(record.instances, key=lambda i: i.score)


def mask_of(record: FrameRecord) -> Rle:
    pixels = np.zeros((record.height, record.width), bool)
    pixels[2:9, 3:8] = True
    return rle(pixels)


def test_a_rejection_is_of_the_object_that_the_run_has_there(run: Run) -> None:
    record, instance = first(run)
    # Found on the page with other settings: another number, and a box beside by some pixels.
    x0, y0, x1, y1 = instance.box_xyxy
    seen = replace(instance, instance_id=f"{record.frame_id}:77", box_xyxy=(x0, y0, x1 - 1, y1))
    assert Handover(run).save([rejected(record, seen)]) == Saved(1, 0, 0)
    (made,) = run.reviews()
    assert made.instance_id == instance.instance_id and made.seen_box == instance.box_xyxy
    verdicts = run.decisions().apply(record, run.classes).verdicts
    assert verdicts == {instance.instance_id: "reject"}


@pytest.mark.parametrize("change", ["class", "place", "picture"])
def test_what_the_run_does_not_have_is_counted(run: Run, change: str) -> None:
    record, instance = first(run)
    decision = rejected(record, instance)
    if change == "class":
        other = next(name for name in run.classes.names if name != instance.class_name)
        decision = replace(decision, seen_class=other)
    elif change == "place":
        x0, y0, x1, y1 = instance.box_xyxy
        decision = replace(decision, seen_box=(x0 + 90, y0 + 90, x1 + 90, y1 + 90))
    else:
        decision = replace(decision, frame_id="gone.png", item="gone.png")
    assert Handover(run).save([decision]) == Saved(0, 0, 1)
    assert list(run.reviews()) == []


def test_what_was_added_is_there_once_however_often_it_is_saved(run: Run) -> None:
    record, _ = first(run)
    name = run.classes.names[0]
    mine = replace(added(record, name, 0), mask=mask_of(record))
    handover = Handover(run)
    assert handover.save([mine]) == Saved(1, 0, 0)
    assert handover.save([mine, rejected(*first(run))]) == Saved(2, 0, 0)
    # Of the next job, after another Annotate: nothing of before is lost.
    other = replace(added(record, name, 0), mask=mask_of(record))
    assert Handover(run).save([other]) == Saved(1, 0, 0)
    applied = run.decisions().apply(record, run.classes)
    assert applied.conflicts == ()
    drawn = [i for i in applied.record.instances if i.origin == "reviewed"]
    assert len(drawn) == 2 and {i.class_name for i in drawn} == {name}
    assert all(i.mask == mask_of(record) and i.area == 35 for i in drawn)


def test_what_is_taken_back_is_taken_back_there(run: Run) -> None:
    record, instance = first(run)
    mine = replace(added(record, run.classes.names[0], 0), mask=mask_of(record))
    handover = Handover(run)
    assert handover.save([mine, rejected(record, instance)]) == Saved(2, 0, 0)
    assert handover.save([]) == Saved(0, 2, 0)
    applied = run.decisions().apply(record, run.classes)
    assert applied.verdicts == {} and applied.record.instances == record.instances
    assert handover.save([mine]) == Saved(1, 0, 0)
    assert len(run.decisions().apply(record, run.classes).record.instances) == 1 + len(
        record.instances
    )


def test_an_added_object_needs_a_class_and_a_size_that_the_run_has(run: Run) -> None:
    record, _ = first(run)
    unknown = replace(added(record, "zebra", 0), mask=mask_of(record))
    small = rle(np.ones((3, 3), bool))
    resized = replace(added(record, run.classes.names[0], 0), mask=small)
    assert Handover(run).save([unknown, resized]) == Saved(0, 0, 2)


def test_a_run_that_is_at_work_is_left_alone(run: Run) -> None:
    with one_writer(run.path), pytest.raises(StorageError):
        Handover(run).save([rejected(*first(run))])


def test_tracks_that_were_added_get_numbers_that_the_run_has_not(tmp_path: Path) -> None:
    from annotate.record import parquet

    run_command(draw_stills(tmp_path / "pictures"), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    frames = [
        FrameRecord(
            frame_id=f"clip.mp4#{n:06d}", item="clip.mp4", media="video", frame_index=n,
            time_s=n / 25, width=20, height=12, status="ok", instances=(_tracked(n, 4),),
        )
        for n in range(2)
    ]  # fmt: skip
    parquet.write_part(run.records_dir, "part-clip", frames)
    name = run.classes.names[0]
    mask = rle(np.ones((12, 20), bool))
    made: list[Decision] = []
    for track in (1, 2):
        clicked, followed = (replace(added(f, name, track), mask=mask) for f in frames)
        carried = f"{followed.frame_id}:carried-{track}"
        made += [clicked, replace(followed, by="propagation", instance_id=carried)]
    assert Handover(run).save(made[:2]) == Saved(2, 0, 0)
    assert Handover(run).save(made[2:]) == Saved(2, 0, 0)  # of another job
    assert sorted({d.track_id or 0 for d in run.reviews()}) == [5, 6]
    for frame in frames:
        applied = run.decisions().apply(frame, run.classes)
        assert applied.conflicts == ()
        assert sorted(i.track_id for i in applied.record.instances) == [4, 5, 6]


def _tracked(n: int, track_id: int) -> Instance:
    pixels = np.zeros((12, 20), bool)
    pixels[1:5, 1:5] = True
    box = geometry.mask_boxes(pixels[None])[0]
    return Instance(
        instance_id=f"clip.mp4#{n:06d}:0", class_id=0, phrase="red circle", score=0.9,
        box_xyxy=tuple(box.tolist()), mask=rle(pixels), area=16, mask_score=0.9,
        track_id=track_id, origin="detected",
    )  # fmt: skip
