"""Frames that say the same stand together in the queue."""

import pyarrow as pa

from annotate.evaluate import uncertainty
from annotate.report.neighbours import groups, varied


def frame(frame_id: str, doubt: float, why: str = "margin", looks_like: str | None = None) -> dict:
    item = frame_id.rpartition("#")[0] or frame_id
    return {
        "frame_id": frame_id, "item": item, "doubt": doubt, "why": why, "looks_like": looks_like
    }  # fmt: skip


def grouped(*frames: dict) -> list[tuple[str, int]]:
    return [(g.frame_id, g.count) for g in groups(pa.Table.from_pylist(frames, uncertainty.SCHEMA))]


def in_clip(*numbers: int, doubt: float = 0.5, why: str = "margin") -> list[dict]:
    return [frame(f"v.mp4#{n:06d}", doubt, why) for n in numbers]


def test_neighbours_of_one_reason_are_one_entry_led_by_the_most_doubtful():
    frames = in_clip(0, 1, 2, 4, 5)
    frames[3]["doubt"] = 0.9
    assert grouped(*frames) == [("v.mp4#000004", 5)]


def test_another_reason_another_video_and_a_long_way_are_not():
    sure = in_clip(*range(5, 25), doubt=0.0, why="")
    frames = [*in_clip(0, 1, 40), *in_clip(2, 3, why="switch"), *sure, frame("w.mp4#000000", 0.4)]
    assert grouped(*frames) == [
        ("v.mp4#000000", 2), ("v.mp4#000002", 2), ("v.mp4#000040", 1), ("w.mp4#000000", 1)
    ]  # fmt: skip


def test_near_is_counted_in_annotated_frames_whatever_the_stride():
    assert grouped(*in_clip(0, 100, 200, 300)) == [("v.mp4#000000", 4)]


def test_frames_beyond_six_digits_keep_their_order():
    found = groups(pa.Table.from_pylist(in_clip(999_999, 1_000_000), uncertainty.SCHEMA))
    assert [(g.count, g.also) for g in found] == [(2, "2 such frames, 999999 to 1000000")]


def test_stills_that_look_alike_are_one_entry_and_others_are_not():
    frames = [
        frame("a.png", 0.5),
        frame("b.png", 0.6, looks_like="a.png"),
        frame("c.png", 0.5),
        frame("d.png", 0.2, "duplicate", looks_like="a.png"),
        frame("e.png", 0.2, "duplicate", looks_like="a.png"),
    ]
    assert grouped(*frames) == [("b.png", 2), ("c.png", 1), ("d.png", 2)]


def test_a_still_may_be_called_like_a_frame():
    names = ("x#000001", "x#000002")
    stills = [{**frame(name, 0.5), "item": name} for name in names]
    assert grouped(*stills) == [(name, 1) for name in names]


def test_nothing_doubted_is_no_group():
    assert grouped(frame("a.png", 0.0, "")) == grouped() == []


def test_of_each_item_only_the_first_few():
    assert varied(["a", "a", "a", "b", "a", "c"], 4, 2) == [0, 1, 3, 5]
