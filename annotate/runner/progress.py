"""How far the work has come, in frames: one bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tqdm import tqdm

from annotate.data.types import Item
from annotate.decode.video import frames_promised
from annotate.errors import MediaError
from annotate.runner.terminal import complain
from annotate.runner.units import Step


class Progress:
    """Counts the frames of items against how many there will be; a context.

    How many a video has is read from its header, in another thread, so that work need not wait. A
    header may be wrong or say nothing: then the bar learns as it goes.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        stride: int,
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = Step()
        self._stride = stride
        self._videos = [item for item in items if item.media == "video"]
        self._left = threading.Event()
        self._counting = threading.Thread(target=self._count, name="count frames", daemon=True)
        stills = len(items) - len(self._videos)
        self._bar = (
            _Bar(stills, knows_all=not self._videos)
            if sys.stderr.isatty()
            else _Lines(stills, knows_all=not self._videos, every_s=every_s, clock=clock)
        )

    def __enter__(self) -> Self:
        if self._videos:
            self._counting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._left.set()
        self._bar.close()

    @property
    def tally(self) -> Step:
        """What was done so far."""
        return self._tally

    def add(self, step: Step) -> None:
        """Something more was done."""
        self._tally += step
        self._bar.add(step.frames + step.failed, step.before, self._tally)

    def _count(self) -> None:
        for item in self._videos:
            if self._left.is_set():
                return
            with suppress(MediaError, OSError):
                frames = frames_promised(item)
                self._bar.expect(-(-frames // self._stride))
        self._bar.expect(0, all_known=True)


class _Bar:
    """tqdm's, whose total grows as it becomes known."""

    def __init__(self, total: int, *, knows_all: bool) -> None:
        self._bar = tqdm(
            total=total if knows_all else None,
            unit="frame",
            mininterval=1.0,
            smoothing=0.05,
            dynamic_ncols=True,
        )
        self._expected = total

    def expect(self, frames: int, *, all_known: bool = False) -> None:
        self._expected += frames
        if all_known:
            self._bar.total = self._expected
            self._bar.refresh()

    def add(self, frames: int, before: int, tally: Step) -> None:
        self._expected -= before
        if self._bar.total is not None:
            self._bar.total = max(self._expected, self._bar.n + frames)
        if tally.failed:
            self._bar.set_postfix_str(f"{tally.failed} failed", refresh=False)
        self._bar.update(frames)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """For logs and pipes: a line from time to time, and none that a carriage return overwrites."""

    def __init__(
        self, total: int, *, knows_all: bool, every_s: float, clock: Callable[[], float]
    ) -> None:
        self._expected, self._knows_all = total, knows_all
        self._every_s, self._clock = every_s, clock
        self._begun = self._said = clock()
        self._done = 0
        self._tally = Step()

    def expect(self, frames: int, *, all_known: bool = False) -> None:
        self._expected += frames
        self._knows_all |= all_known

    def add(self, frames: int, before: int, tally: Step) -> None:
        self._done += frames
        self._expected -= before
        self._tally = tally
        if self._clock() - self._said >= self._every_s:
            self._say()

    def close(self) -> None:
        if self._done:
            self._say()

    def _say(self) -> None:
        self._said = self._clock()
        spent = self._said - self._begun
        rate = self._done / spent if spent > 0 else 0.0
        total = max(self._expected, self._done)
        parts = [f"{self._done:,}" + (f" of {total:,}" if self._knows_all else "") + " frames"]
        if rate:
            parts.append(f"{rate:.1f} frames/s")
        if rate and self._knows_all and total > self._done:
            parts.append(f"about {told_duration((total - self._done) / rate)} left")
        if self._tally.failed:
            parts.append(f"{self._tally.failed} failed")
        complain(f"annotated {', '.join(parts)}")


def told_duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`, `2 days 4 h`: no more digits than an estimate has."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(round(minutes / 10) * 10, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h"


def total_frames(items: Iterable[Item], stride: int) -> tuple[int, int]:
    """Frames of items as their headers say, and how many items do not say."""
    frames = unknown = 0
    for item in items:
        try:
            frames += 1 if item.media == "image" else -(-frames_promised(item) // stride)
        except (MediaError, OSError):
            unknown += 1
    return frames, unknown
