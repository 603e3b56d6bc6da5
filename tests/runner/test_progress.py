"""What people see of the work while it is done: frames, on a bar or in lines of a log."""

import io
import re
import sys
from pathlib import Path

import pytest

from annotate.data.types import Item
from annotate.decode.video import frames_promised
from annotate.runner.progress import Progress, told_duration
from annotate.runner.units import Step
from annotate.synthetic.demo import ensure_demo


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Item:
    data = tmp_path_factory.mktemp("data") / "demo"
    ensure_demo(data)
    path = next((data / "clips").iterdir())
    return Item(path.name, path, "video")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


STILLS = [Item(f"{n}.png", Path(f"{n}.png")) for n in range(100)]


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line]


def test_without_a_terminal_a_line_comes_now_and_then(capsys):
    clock = Clock()
    with Progress(STILLS, stride=1, every_s=30, clock=clock) as progress:
        for n in range(100):
            clock.now += 1
            progress.add(Step(items=1, frames=n != 4, failed=n == 4))
    said = lines(capsys)
    assert said == [
        "annotated 30 of 100 frames, 1.0 frames/s, about 70 s left, 1 failed",
        "annotated 60 of 100 frames, 1.0 frames/s, about 40 s left, 1 failed",
        "annotated 90 of 100 frames, 1.0 frames/s, about 10 s left, 1 failed",
        "annotated 100 of 100 frames, 1.0 frames/s, 1 failed",
    ]


def test_a_video_counts_by_its_frames_and_what_was_done_before_is_not_left(capsys, clip):
    promised = frames_promised(clip)
    assert promised > 20
    clock = Clock()
    progress = Progress([*STILLS[:2], clip], stride=2, every_s=1e9, clock=clock)
    with progress:
        progress._counting.join()
        clock.now += 10
        progress.add(Step(before=10))
        progress.add(Step(frames=5))
    total = 2 + -(-promised // 2) - 10
    assert re.match(
        rf"annotated 5 of {total} frames, 0.5 frames/s, about \d+ s left", lines(capsys)[0]
    )


def test_what_no_header_says_is_not_promised(capsys):
    gone = Item("gone.mp4", Path("gone.mp4"), "video")
    with Progress([gone], stride=1, every_s=1e9) as progress:
        progress._counting.join()
        progress.add(Step(items=1, failed=1))
    assert lines(capsys)[0].startswith("annotated 1 of 1 frames")


def test_on_a_terminal_there_is_one_bar_of_frames(monkeypatch, clip):
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress([*STILLS[:2], clip], stride=1, every_s=1e9) as progress:
        progress._counting.join()
        for _ in range(frames_promised(clip) + 2):
            progress.add(Step(frames=1))
        progress.add(Step(items=1))
    total = frames_promised(clip) + 2
    assert f"{total}/{total}" in screen.getvalue() and "frame/s" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (5000, "83 min"), (12_100, "3 h 20 min"),
     (7200, "2 h"), (190_000, "2 days 4 h")],
)  # fmt: skip
def test_a_duration_has_no_more_digits_than_an_estimate(seconds, said):
    assert told_duration(seconds) == said
