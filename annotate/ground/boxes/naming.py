"""Which entry of a file of boxes a frame is: by name, and never by a guess."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from annotate.data.item_paths import plain
from annotate.data.types import Frame
from annotate.discover.files import numbered_images

T = TypeVar("T")


class Entries(Generic[T]):
    """Entries of a file by the names that it gives their pictures."""

    def __init__(self) -> None:
        self._by_name: dict[str, T] = {}
        self._as_written: dict[str, T] = {}  # names that differ in their Unicode form alone

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, name: str, entry: T) -> bool:
        """Whether the name was free."""
        self._as_written.setdefault(name, entry)
        return self._by_name.setdefault(plain(name), entry) is entry

    def find(self, frame: Frame, below: str | None) -> T | None:
        """The entry of a frame; see `names_of`."""
        if not below and (entry := self._as_written.get(frame.frame_id)) is not None:
            return entry
        known = (self._by_name.get(name) for name in names_of(frame, below))
        return next((entry for entry in known if entry is not None), None)

    @property
    def example(self) -> str:
        """Any of the names."""
        return next(iter(self._by_name), "")


def names_of(frame: Frame, below: str | None) -> Iterator[str]:
    """What a file may call a frame, the likeliest first.

    That is its name below the dataset's root, or longer ends of its path: names that begin in a
    folder above the root. A shorter end, such as the bare name of what lies in a folder, may be
    another picture's. For a file whose names begin in a folder of the dataset, `below` is that.
    """
    own = list(_own(frame))
    if below:
        start = f"{plain(below)}/"
        yield from (name.removeprefix(start) for name in own if name.startswith(start))
        return
    yield from own
    if frame.item.remote is None:
        parts = plain(str(frame.item.path.absolute())).split("/")
        beyond = len(parts) - len(plain(frame.item.name).split("/"))
        for start_at in range(beyond - 1, -1, -1):
            above = "/".join(parts[start_at:beyond])
            yield from (f"{above}/{name}" for name in own)


def _own(frame: Frame) -> Iterator[str]:
    """The names of a frame that begin at the dataset's root."""
    item = plain(frame.item.name)
    if frame.item.media == "image":
        yield item
        return
    # Files of a folder first: whoever numbers them may count from 1.
    files = _frame_files(frame.item.path) if frame.item.remote is None else ()
    if frame.index < len(files):
        yield f"{item}/{files[frame.index]}"
    yield f"{item}#{frame.index:06d}"
    if not files:
        yield from (f"{item}/{frame.index:06d}{suffix}" for suffix in (".jpg", ".png"))


@lru_cache(maxsize=4)
def _frame_files(path: Path) -> tuple[str, ...]:
    """The files of a folder of frames in their order; none of a video file."""
    return tuple(p.name for p in numbered_images(path)) if path.is_dir() else ()
