"""What a listing gives, wherever the files are: items, and the place their names start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from annotate.data.types import Item
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.discover.left_out import LeftOut, folders_like_videos
from annotate.errors import ConfigError

FAMILIAR_IMAGES = (".jpg", ".png", ".webp", ".tif", ".bmp", ".avif", ".gif")  # in messages
FAMILIAR_VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".ts")
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


def _nothing(path: str, left_out: LeftOut, kind: str) -> str:
    """What was looked for where nothing was found, and what would be read."""
    (only, *more) = left_out.kinds or [""]
    if only == ".json" and not more:
        return "no image or video; images that a COCO json lists are read with dataset.kind=coco"
    if PurePosixPath(path).suffix.lower() in (".txt", ".yaml", ".yml") and not more:
        return f"no image or video; a class list is given as prompts={path}"
    if kind == "frames":
        return (
            "no folder of numbered images in it (0001.jpg, 0002.jpg, ...), which dataset.kind="
            f"frames looks for{_beside(left_out)}"
        )
    wanted = {"images": "image", "videos": "video"}.get(kind, "image or video")
    known = []
    if kind != "videos":
        known.append("images are " + " ".join(FAMILIAR_IMAGES) + " and more")
    if kind != "images":
        known.append("videos are " + " ".join(FAMILIAR_VIDEOS) + " and more")
    if sum(left_out.kinds.values()) == 1 and PurePosixPath(path).suffix in (only, ""):
        return f"no {wanted} ({'; '.join(known)})"
    return f"no {wanted} in it ({'; '.join(known)}){_beside(left_out)}"


def _beside(left_out: LeftOut) -> str:
    return f"; {left_out}" if left_out.kinds else ""


def dataset(
    root: Path | str, items: tuple[Item, ...], left_out: LeftOut, *, path: str, kind: str
) -> Dataset:
    """What was found at `path`; ConfigError where nothing was."""
    if not items:
        raise ConfigError(f"dataset={path}: {_nothing(path, left_out, kind)}")
    stills = folders_like_videos(items) if kind in ("auto", "images") else ()
    return Dataset(root, items, left_out, stills)
