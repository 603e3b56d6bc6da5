"""What is shown of records: frames by their numbers, places by their pixels."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.data.types import ClassList, ClassSpec, FrameRecord
from annotate.playground.results import SHOWN_PX, Results
from annotate.record.run_folder import Run


def results(tmp_path: Path, indices: list[int], size_wh: tuple[int, int]) -> Results:
    classes = ClassList((ClassSpec("car", ("car",)),))
    records = tuple(
        FrameRecord(
            frame_id=f"clip.mp4#{n:06d}", item="clip.mp4", media="video", frame_index=n,
            time_s=n / 25, width=size_wh[0], height=size_wh[1], status="ok",
        )
        for n in indices
    )  # fmt: skip
    return Results(Run(tmp_path, tmp_path, classes), records)


@pytest.mark.parametrize(
    ("indices", "frame", "at"),
    [
        ([0, 1, 2], 1, 1),
        ([0, 10, 20], 10, 1),  # of every tenth frame
        ([0, 10, 20], 19, 1),
        ([0, 10, 20], 47, 2),
        ([3, 4], 0, 0),
    ],
)
def test_a_frame_is_named_by_its_number(
    tmp_path: Path, indices: list[int], frame: int, at: int
) -> None:
    assert results(tmp_path, indices, (20, 10)).at(frame) == at


@pytest.mark.parametrize("size_wh", [(20, 10), (4000, 3000), (3000, 4000), (1601, 3)])
def test_a_place_is_one_of_the_frame_whatever_the_size_it_is_shown_at(
    tmp_path: Path, size_wh: tuple[int, int]
) -> None:
    made = results(tmp_path, [0], size_wh)
    w, h = size_wh
    scale = max(1.0, max(w, h) / SHOWN_PX)
    last = round(w / scale) - 1, max(1, round(h / scale)) - 1
    x, y = made.frame_xy(0, last)
    assert w - scale <= x < w and h - max(scale, h / (last[1] + 1)) <= y < h
    assert all(0 <= v < scale * 2 for v in made.frame_xy(0, (0, 0)))
