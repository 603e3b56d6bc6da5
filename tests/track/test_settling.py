"""What a video's tracks came to, from constructed records and tracks."""

from pathlib import Path

import numpy as np
import pytest

from annotate.config.settings import SegmentSettings
from annotate.data.geometry import encode_masks
from annotate.data.types import Frame, FrameRecord, Instance, Item, Rle
from annotate.runner.pipeline import VideoPass, ok_record
from annotate.track.settling import hidden, keep, one_each, roots, settle, verdicts
from annotate.track.tracks import Track
from tests.settings import TRACK

ITEM = Item("clip.mp4", Path("clip.mp4"), "video")
MASK = Rle(encode_masks(np.ones((1, 4, 4), bool))[0], (4, 4))


def track(track_id: int, **changes) -> Track:
    made = Track(track_id, last_seen=0, placed=0)
    made.hit(2, "red car", 0.5, sure=True)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def tracks(*made: Track) -> dict[int, Track]:
    return {track.track_id: track for track in made}


def instance(track_id: int, class_id: int = 2, margin: float | None = None) -> Instance:
    box = (0.0, 0.0, 4.0, 4.0)
    return Instance("", class_id, "", 0.0, box, MASK, 16, 0.5, track_id=track_id, margin=margin)


def record(index: int, *instances: Instance) -> FrameRecord:
    return ok_record(Frame(ITEM, np.zeros((4, 4, 3), np.uint8), index), instances)


@pytest.mark.parametrize(
    ("hits", "key_frames", "kept"),
    [(1, 1, True), (1, 2, False), (2, 2, True), (2, 3, False), (3, 50, True)],
)
def test_a_track_needs_as_many_detections_as_its_key_frames_allow(hits, key_frames, kept):
    assert keep(track(1, hits=hits, key_frames=key_frames), TRACK) == kept


def test_a_root_is_whom_a_chain_of_merges_ends_with():
    kept = tracks(track(1), track(2, merged_into=1), track(3, merged_into=2), track(4))
    assert roots(kept) == {1: 1, 2: 1, 3: 1, 4: 4}


def test_one_merged_into_a_track_that_was_not_kept_stands_for_itself():
    assert roots(tracks(track(5, merged_into=2))) == {5: 5}


def test_roots_are_numbered_by_their_births():
    kept = tracks(track(7), track(3), track(5, merged_into=3))
    kept[3].hit(1, "truck", 0.9, sure=True)
    said = verdicts(kept)
    assert {i: v.number for i, v in said.items()} == {3: 1, 7: 2}
    assert (said[3].class_id, said[3].phrase, said[3].score) == (1, "truck", pytest.approx(0.7))


@pytest.mark.parametrize(("moment", "gone"), [(2, False), (3, True), (5, True), (6, False)])
def test_a_track_is_hidden_from_the_first_miss_to_the_last(moment, gone):
    assert hidden(track(1, hidden=[(3, 5), (9, 9)]), moment) == gone


def test_of_those_merged_the_root_speaks_else_the_eldest():
    kept = tracks(track(1, hidden=[(1, 1)]), track(2, merged_into=1), track(3, merged_into=1))
    root_of = roots(kept)
    three, two, one = instance(3), instance(2), instance(1)
    assert one_each([three, two, one], 0, kept, root_of) == {1: one}
    assert one_each([three, two, one], 1, kept, root_of) == {1: two}
    assert one_each([three, instance(9)], 0, kept, root_of) == {1: three}


def test_settled_records_carry_numbers_and_what_the_track_came_to():
    kept = tracks(track(4), track(6))
    made = [record(10, instance(6), instance(4)), record(11, instance(5)), record(12, instance(6))]
    records = list(settle(made, kept))
    assert [r.frame_index for r in records] == [10, 11, 12]
    assert [[i.track_id for i in r.instances] for r in records] == [[1, 2], [], [2]]
    (last,) = records[2].instances
    assert last.instance_id == "clip.mp4#000012:2"
    assert (last.class_id, last.phrase, last.score) == (2, "red car", 0.5)


def test_moments_are_counted_in_records_whatever_their_frames_are_called():
    kept = tracks(track(1, hidden=[(1, 1)]))
    records = settle([record(index, instance(1)) for index in (30, 35, 40)], kept)
    assert [len(r.instances) for r in records] == [1, 0, 1]


def test_where_the_detector_took_it_for_another_class_the_margin_speaks_against():
    made = [record(0, instance(1, 2, 0.3)), record(1, instance(1, 0, 0.3)), record(2, instance(1))]
    records = settle(made, tracks(track(1)))
    assert [r.instances[0].margin for r in records] == [0.3, -0.3, None]


def test_merged_tracks_come_out_of_a_pass_once():
    class Finished:
        def kept(self) -> dict[int, Track]:
            return tracks(
                track(1, hidden=[(1, 1)]), track(2, merged_into=1), track(3, merged_into=1)
            )

    passing = VideoPass(
        Finished(), [], SegmentSettings(speck_share=0.0, hole_share=0.0, max_pixels=1)
    )  # type: ignore[arg-type]
    seen = [(1, 2), (1, 2), (2, 3)]
    made = [record(t, *map(instance, ids)) for t, ids in enumerate(seen)]
    settled = list(passing.settled(made))
    assert [[i.track_id for i in r.instances] for r in settled] == [[1], [1], [1]]
