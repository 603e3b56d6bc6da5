"""What people decide: written, folded and applied. No FiftyOne needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from annotate.data import decisions
from annotate.data.decisions import Decision
from annotate.data.geometry import decode_crop, encode_masks, mask_boxes, run_lengths
from annotate.data.types import FrameRecord, Rle
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from tests.data.decided import (
    CLASSES,
    LEFT,
    PICTURE,
    RIGHT,
    H,
    W,
    about,
    frame,
    instance,
    mask,
)


def applied(record: FrameRecord, *made: Decision) -> decisions.Applied:
    return decisions.fold(made).apply(record, CLASSES)


def test_what_is_written_is_read_in_its_order(tmp_path: Path):
    first = [
        about("a.png:0", tags=("accept",), who="kim", when=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        about("a.png:1", mask=mask(*RIGHT), box_only=False, track_id=3, class_name="dog"),
    ]
    second = [Decision(frame_id="a.png", item="a.png", tags=())]
    assert reviews.write(tmp_path, []) is None and not list(tmp_path.iterdir())
    one = reviews.write(tmp_path, first)
    before = one.read_bytes()
    two = reviews.write(tmp_path, second)
    assert list(reviews.read(tmp_path)) == first + second
    assert one.read_bytes() == before and two != one


def test_every_field_keeps_its_last_word():
    made = applied(
        PICTURE,
        about("a.png:0", class_name="dog", tags=("fix",)),
        about("a.png:0", tags=("accept",)),
        about("a.png:0", mask=mask(4, 4, 20, 28)),
    )
    found = made.record.instances[0]
    assert (found.class_id, found.origin, found.vouched) == (1, "reviewed", True)
    assert found.box_xyxy == (4, 4, 20, 28) and found.area == 16 * 24
    assert made.verdicts == {"a.png:0": "accept"} and made.tags["a.png:0"] == ("accept",)
    assert made.record.instances[1] == PICTURE.instances[1]


def test_deleted_and_brought_back():
    gone = about("a.png:0", deleted=True)
    assert [i.instance_id for i in applied(PICTURE, gone).record.instances] == ["a.png:1"]
    back = applied(PICTURE, gone, about("a.png:0", deleted=False))
    assert len(back.record.instances) == 2


def test_what_was_drawn_is_added_and_can_be_deleted():
    drawn = Decision(
        frame_id="a.png", item="a.png", instance_id="a.png:new", added=True, class_name="dog",
        mask=mask(0, 0, 5, 5), box_only=True,
    )  # fmt: skip
    found = applied(PICTURE, drawn).record.instances[-1]
    assert (found.instance_id, found.class_id, found.score) == ("a.png:new", 1, 1.0)
    gone = Decision(frame_id="a.png", item="a.png", instance_id="a.png:new", deleted=True)
    assert applied(PICTURE, drawn, gone).record == PICTURE
    assert applied(PICTURE, drawn, gone).conflicts == ()


def test_a_verdict_on_a_track_waits_where_the_number_is_anothers_now(tmp_path: Path):
    run = Run.start(tmp_path, tmp_path, CLASSES, {})
    clip = [frame(t, instance(f"clip.mp4#{t:06d}:1", LEFT, track=1)) for t in range(3)]
    parquet.write_part(run.records_dir, "part-0", clip)
    tag = about("clip.mp4#000001:1", tags=("reject-track",), seen_track=1)
    reviews.write(run.reviews_dir, [tag])
    assert run.decisions().tracks == {("clip.mp4", 1): "reject"}
    anew = [frame(t, instance(f"clip.mp4#{t:06d}:1", RIGHT, track=1)) for t in range(3)]
    parquet.write_part(run.records_dir, "part-0", anew)
    assert run.decisions().tracks == {}
    (conflict,) = run.decisions().conflicts(run.frames(), CLASSES)
    assert "another object" in conflict


def test_the_last_word_counts_whichever_folder_it_is_in(tmp_path: Path):
    def said(tag: str, day: int) -> list[Decision]:
        when = datetime(2026, 1, day, tzinfo=UTC)
        return [Decision(frame_id="a.png", item="a.png", tags=(tag,), when=when)]

    reviews.write(tmp_path / "one", said("accept", 2))
    reviews.write(tmp_path / "two", said("reject", 1))
    reviews.write(tmp_path / "two", [about("a.png:0", mask=mask(*LEFT), by="propagation")])
    read = list(reviews.read(tmp_path / "one", tmp_path / "two"))
    assert [d.tags for d in read] == [("reject",), None, ("accept",)]


def test_a_tag_can_speak_for_a_whole_track():
    clip = [frame(t, instance(f"clip.mp4#{t:06d}:1", LEFT, track=1)) for t in range(3)]
    folded = decisions.fold([about("clip.mp4#000001:1", tags=("reject-track",), seen_track=1)])
    for record in clip:
        (verdict,) = folded.apply(record, CLASSES).verdicts.values()
        assert verdict == "reject"


def test_a_verdict_on_a_video_is_one_on_its_frames_unless_they_have_their_own():
    video = Decision(frame_id="clip.mp4", item="clip.mp4", tags=("accept",))
    own = Decision(frame_id="clip.mp4#000001", item="clip.mp4", tags=("reject",))
    folded = decisions.fold([video, own])
    assert folded.apply(frame(0), CLASSES).verdict == "accept"
    assert folded.apply(frame(1), CLASSES).verdict == "reject"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (about("a.png:7", tags=("accept",)), "a.png:7: the run has no such instance any more"),
        (about("a.png:0", RIGHT, tags=("accept",)), "a.png:0: the run has another object there"),
        (about("a.png:0", seen_class="dog", deleted=True), "a.png:0: the run has another object"),
        (about("a.png:0", class_name="cow"), "a.png:0: 'cow' is none of the run's classes"),
        (about("a.png:0", mask=Rle("x", (9, 9))), "a.png:0: the picture has another size now"),
        (Decision(frame_id="b.png", item="b.png", tags=("fix",)), "b.png: the run has no such pic"),
    ],
)
def test_what_a_run_cannot_carry_out_is_told_and_changes_nothing_else(made, says):
    folded = decisions.fold([made])
    (conflict,) = folded.conflicts([PICTURE], CLASSES)
    assert conflict.startswith(says)
    kept = folded.apply(PICTURE, CLASSES).record.instances
    assert [replace(i, vouched=False) for i in kept] == list(PICTURE.instances)


def test_a_decision_on_a_new_object_of_the_same_id_starts_afresh():
    old = about("a.png:0", RIGHT, class_name="dog")
    made = applied(PICTURE, old, about("a.png:0", LEFT, tags=("accept",)))
    assert made.conflicts == () and made.record.instances[0].class_id == 0


@pytest.mark.parametrize(
    ("made", "origin"),
    [
        ([("person", True), ("propagation", True)], "repropagated"),
        ([("propagation", True), ("person", True)], "reviewed"),
        ([("person", False), ("propagation", True)], "repropagated"),
        ([("propagation", True), ("person", False)], "repropagated"),  # its mask is what it was
        ([("propagation", False), ("person", False)], "reviewed"),
        ([("propagation", True), ("person", False), ("person", True)], "reviewed"),
    ],
)
def test_who_made_the_mask_that_counts_made_the_instance(made, origin):
    """Each decision: by whom, and whether it says a mask."""
    said = [
        about("a.png:0", by=by, mask=mask(*LEFT) if shaped else None, class_name="dog")
        for by, shaped in made
    ]
    assert applied(PICTURE, *said).record.instances[0].origin == origin


def test_run_lengths_and_crops_agree_with_whole_masks():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        pixels = rng.random((H, W)) < share
        pixels[:3] = False
        (counts,) = encode_masks(pixels[None])
        assert run_lengths(counts).sum() == H * W
        x0, y0, x1, y1 = (int(v) for v in mask_boxes(pixels[None])[0])
        crop = decode_crop(counts, (H, W), (x0, y0, x1, y1))
        assert (crop == pixels[y0:y1, x0:x1]).all()
        assert (decode_crop(counts, (H, W), (5, 2, 41, 33)) == pixels[2:33, 5:41]).all()
    big = np.zeros((1, 1080, 1920), bool)
    big[0, 100:900, 300:1700] = True
    (counts,) = encode_masks(big)
    assert decode_crop(counts, (1080, 1920), (300, 100, 1700, 900)).all()


def test_two_instances_of_a_frame_with_one_track_are_a_conflict():
    both = frame(
        3,
        instance("clip.mp4#000003:1", LEFT, track=1),
        instance("clip.mp4#000003:2", RIGHT, track=2),
    )
    same = about("clip.mp4#000003:2", RIGHT, seen_track=2, track_id=1)
    made = applied(both, same)
    assert made.conflicts == (
        "clip.mp4#000003:1 and clip.mp4#000003:2: track 1 twice in one frame",
    )
    assert [i.track_id for i in made.record.instances] == [1, 1]
    folded = decisions.fold([same])
    assert list(folded.conflicts([both, frame(4)], CLASSES)) == list(made.conflicts)
    # Nothing is left of it once one of them is rejected, deleted or given another track.
    other = about("clip.mp4#000003:1", LEFT, seen_track=1)
    for way_out in ({"tags": ("reject",)}, {"deleted": True}, {"track_id": 7}):
        assert applied(both, same, replace(other, **way_out)).conflicts == ()


def test_stills_have_no_tracks_to_be_twice():
    assert applied(PICTURE, about("a.png:0", tags=("accept",))).conflicts == ()
