"""The shapes of a video by track, for formats that write a track as a whole.

They come frame by frame, and wait in a file meanwhile: a long video does not fit into memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from annotate.data.types import Instance

TWICE = "instance whose track is in its frame already"
NO_TRACK = "instance of a video without a track"
OTHER_CLASS = "class of a frame, other than that of its track"


def once_a_track(instances: Sequence[Instance], not_held: Counter[str]) -> list[Instance]:
    """One instance of each track, that of the highest score.

    People may have given two of a frame one id, and what they draw may have none.
    """
    best: dict[int, Instance] = {}
    tracked = [i for i in instances if i.track_id]
    for instance in sorted(tracked, key=lambda i: -i.score):
        best.setdefault(instance.track_id, instance)
    not_held[NO_TRACK] += len(instances) - len(tracked)
    not_held[TWICE] += len(tracked) - len(best)
    kept = {id(i) for i in best.values()}
    return [i for i in instances if id(i) in kept]


class ByTrack:
    """Texts of one video, each of a track and a frame; a context, which forgets them."""

    def __init__(self, folder: Path) -> None:
        """They wait in a file of `folder`, which has no name."""
        self._file = TemporaryFile("w+b", dir=folder)  # noqa: SIM115
        self._places: dict[int, list[tuple[int, int, int]]] = {}  # number, begin and bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, track_id: int, number: int, text: str) -> None:
        """What a track is in the frame of this number; numbers rise."""
        said = text.encode()
        self._places.setdefault(track_id, []).append((number, self._file.tell(), len(said)))
        self._file.write(said)

    @property
    def tracks(self) -> list[int]:
        """In the order in which they appear."""
        return list(self._places)

    def of(self, track_id: int) -> Iterator[tuple[int, str]]:
        """The numbers and texts of one track, once all are added."""
        for number, begin, length in self._places[track_id]:
            self._file.seek(begin)
            yield number, self._file.read(length).decode()
