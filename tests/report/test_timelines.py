"""Time-lines say when tracks are in sight, and what is left out."""

from dataclasses import replace
from pathlib import Path

from annotate.data.types import FrameRecord
from annotate.evaluate import uncertainty
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.timelines import COLUMNS, Timelines, timelines
from tests.evaluate.squares import clip, square, still
from tests.report.pages import made, page_of


def lines(run: Run, **most: int) -> Timelines:
    uncertainty.write(run, 0.3, near_duplicates=False)
    return timelines(run, 0.3, uncertainty.read(run), **most)


def renamed(item: str, *frames: FrameRecord) -> list[FrameRecord]:
    return [replace(f, item=item, frame_id=f.frame_id.replace("v.mp4", item)) for f in frames]


def test_a_track_has_its_frames_its_gaps_and_its_class(tmp_path):
    one, two = square(5, 5, track=1), square(40, 30, class_id=1, track=2)
    run = made(tmp_path / "run", *clip([one], [one, two], [two], [one, two]), still("a.png", one))
    (video,) = lines(run).videos
    assert (video.item, video.frames, video.first, video.last) == ("v.mp4", 4, 0, 3)
    first, second = video.tracks
    assert (first.track_id, first.class_name, first.frames, first.gaps) == (1, "car", 3, 1)
    assert (second.class_name, second.first, second.last, second.gaps) == ("bus", 1, 3, 0)
    quarter = COLUMNS // 4
    assert first.runs == [(0, 2 * quarter), (3 * quarter, COLUMNS)]
    assert second.runs == [(quarter, COLUMNS)]


def test_a_stride_is_no_gap(tmp_path):
    track = square(5, 5, track=1)
    every_third = [
        replace(f, frame_index=3 * f.frame_index, frame_id=f"v.mp4#{3 * f.frame_index:06d}")
        for f in clip([track], [track], [track])
    ]
    (video,) = lines(made(tmp_path / "run", *every_third)).videos
    assert (video.last, video.tracks[0].gaps, video.tracks[0].runs) == (6, 0, [(0, COLUMNS)])


def test_what_an_export_does_not_have_is_on_no_line(tmp_path):
    faint = replace(square(5, 5, track=1), score=0.2)
    (video,) = lines(made(tmp_path / "run", *clip([faint], [faint]))).videos
    assert (video.frames, list(video.tracks)) == (2, [])
    assert "Time-lines" in page_of(tmp_path / "run")


def test_suspect_videos_and_tracks_come_first_and_the_rest_is_counted(tmp_path):
    old, new = square(20, 20, track=1), square(22, 21, track=2)
    bystander = square(50, 30, class_id=1, track=3)
    changing = clip([old, bystander], [bystander], [new, bystander])
    run = made(tmp_path / "run", *renamed("a.mp4", *clip([bystander], [bystander])))
    parquet.write_part(run.records_dir, "part-000001", renamed("b.mp4", *changing))
    found = lines(run, videos=1, tracks=2)
    (video,) = found.videos
    assert (video.item, video.suspected, found.left_out) == ("b.mp4", 1, 1)
    assert [t.track_id for t in video.tracks] == [3, 2] and video.left_out == 1
    assert video.tracks[1].switches == [2] and video.tracks[1].marks == [2 * COLUMNS // 3]


def test_a_long_flickering_video_stays_small(tmp_path):
    track = square(5, 5, track=1)
    frames = clip(*([track] if n % 2 else [] for n in range(4001)))
    (video,) = lines(made(tmp_path / "run", *frames)).videos
    (line,) = video.tracks
    assert line.gaps == 1999 and len(line.runs) <= COLUMNS


def test_hundreds_of_tracks_are_capped_and_said_on_the_page(tmp_path: Path):
    crowd = [square(n % 60, n // 60 * 10, 5, track=n + 1) for n in range(300)]
    run = made(tmp_path / "run", *clip(crowd, crowd))
    page = page_of(run.path)
    assert "The 60 most suspect tracks are here, 240 are left out" in page
    assert page.count('class="seen"') == 60
