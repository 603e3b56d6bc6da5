"""Frames decoded ahead: the same ones, not more than asked for, and no thread is left."""

import threading
import time

import numpy as np
import pytest

from annotate.data.types import Frame, Item
from annotate.decode import read_ahead
from annotate.decode.read_ahead import frames_ahead
from annotate.errors import MediaError

ITEM = Item("a.mp4", None, "video")


class Source:
    """Frames that count how many of them were decoded; one of them may be damaged."""

    def __init__(self, count: int, *, damaged: int | None = None, side: int = 4) -> None:
        self.decoded = 0
        self.closed = False
        self._count, self._damaged, self._side = count, damaged, side

    def frames(self):
        try:
            for index in range(self._count):
                if index == self._damaged:
                    raise MediaError(f"damaged at frame {index}")
                self.decoded += 1
                yield Frame(ITEM, np.zeros((self._side, self._side, 3), np.uint8), index)
        finally:
            self.closed = True


def settle(source: Source) -> int:
    """How many were decoded once the thread has come to rest."""
    before = -1
    while before != source.decoded:
        before = source.decoded
        time.sleep(0.05)
    return before


def left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "decode video"]


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_all_of_them_in_their_order(ahead):
    source = Source(10)
    assert [f.index for f in frames_ahead(source.frames(), ahead)] == list(range(10))
    assert source.closed and not left()


def test_no_more_than_asked_for_are_decoded_ahead():
    source = Source(50)
    frames = frames_ahead(source.frames(), 4)
    for taken in range(1, 6):
        next(frames)
        assert settle(source) <= taken + 4
    assert source.decoded >= 8
    frames.close()
    assert source.closed and not left()


@pytest.mark.parametrize("limit", ["bytes", "memory"])
def test_large_frames_and_scarce_memory_leave_one(limit, monkeypatch):
    source = Source(50)
    if limit == "bytes":
        monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 50)
    frames = frames_ahead(source.frames(), 8, crowded=lambda: limit == "memory")
    for taken in range(1, 4):
        next(frames)
        assert settle(source) <= taken + 1
    assert [f.index for f in frames] == list(range(3, 50))


def test_damage_is_told_behind_the_frames_before_it():
    source = Source(10, damaged=6)
    seen = []
    with pytest.raises(MediaError, match="damaged at frame 6"):
        for frame in frames_ahead(source.frames(), 8):
            seen.append(frame.index)
            settle(source)
    assert seen == list(range(6)) and source.closed and not left()
