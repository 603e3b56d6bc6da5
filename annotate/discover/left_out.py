"""What lies in a dataset's folder beside its items, counted by kind, and what its names suggest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from typing import Final

from annotate.data.types import Item
from annotate.discover.files import (
    HEIF_EXTRA,
    HEIF_SUFFIXES,
    SHARED_SUFFIXES,
    heif_plugin,
    look_like_frames,
)

SHOWN: Final = 10  # kinds on one line
_LONGEST: Final = 16  # characters of a suffix; what is longer is a part of a name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files that are no items, by kind (`.txt`, `no suffix`); hidden ones and runs not counted."""

    kinds: Mapping[str, int] = field(default_factory=dict)  # the most frequent first

    def __str__(self) -> str:
        """One line that names the kinds and the way to read them; "" where there are none."""
        if not self.kinds:
            return ""
        shown = [f"{n:,} {kind}{_needs(kind)}" for kind, n in list(self.kinds.items())[:SHOWN]]
        if len(self.kinds) > SHOWN:
            shown.append(f"and {len(self.kinds) - SHOWN} more kinds")
        return f"{sum(self.kinds.values()):,} files are not read: {', '.join(shown)}"


def left_out(names: Iterable[PurePath]) -> LeftOut:
    """Count files that are no items."""
    counts = Counter(map(kind_of, names))
    return LeftOut(dict(sorted(counts.items(), key=lambda found: (-found[1], found[0]))))


def kind_of(name: PurePath) -> str:
    """The kind of a file by its suffix, lower case; numbers count as one kind."""
    suffix = name.suffix.lower()
    if not suffix:
        return "no suffix"
    if suffix[1:].isdecimal():
        return ".(number)"
    if len(suffix) > _LONGEST or not suffix.isprintable():
        return "other"
    return f"{suffix} without video" if suffix in SHARED_SUFFIXES else suffix


def _needs(kind: str) -> str:
    return f" ({HEIF_EXTRA})" if kind in HEIF_SUFFIXES and heif_plugin() is None else ""


def folders_like_videos(items: Iterable[Item]) -> tuple[str, ...]:
    """Folders whose images are numbered in a row, as the frames of a video are."""
    folders: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if item.media == "image":
            path = PurePosixPath(item.name)
            folders[str(path.parent)].append(path.name)
    return tuple(sorted(folder for folder, names in folders.items() if look_like_frames(names)))
