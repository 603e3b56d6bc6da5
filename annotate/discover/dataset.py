"""What a listing gives, wherever the files are: items, and the place their names start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from annotate.data.types import Item
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.discover.left_out import LeftOut, folders_like_videos
from annotate.errors import ConfigError

KINDS = ("auto", "images", "videos", "frames", "coco", "fiftyone")
SUFFIXES = {"images": IMAGE_SUFFIXES, "videos": VIDEO_SUFFIXES}


@dataclass(frozen=True, slots=True)
class Dataset:
    """The items in the order they are worked on (by name), and the folder names start from."""

    root: Path | str  # a url of one on a store
    items: tuple[Item, ...]
    left_out: LeftOut = field(default_factory=LeftOut)
    like_videos: tuple[str, ...] = ()  # folders of stills that may be frames

    @property
    def hint(self) -> str:
        """A line where the dataset looks like one of another kind, else ""."""
        if not self.like_videos:
            return ""
        first, *more = self.like_videos
        first = str(self.root) if first == "." else first
        where = f"{first} and {len(more):,} more folders" if more else first
        return (
            f"{where}: images numbered in a row were taken for stills; if they are the frames of "
            "a video, dataset.kind=frames tracks objects through them"
        )


def dataset(
    root: Path | str, items: tuple[Item, ...], left_out: LeftOut, *, path: str, kind: str
) -> Dataset:
    """What was found at `path`; ConfigError where nothing was."""
    if not items:
        beside = f"; {left_out}" if left_out.kinds else ""
        raise ConfigError(f"dataset={path}: no image or video in it (looked for {kind}){beside}")
    stills = folders_like_videos(items) if kind in ("auto", "images") else ()
    return Dataset(root, items, left_out, stills)
