"""What a listing gives, wherever the files are: items, and the place their names start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from annotate.data.types import Item
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

KINDS = ("auto", "images", "videos", "frames", "coco", "fiftyone")
SUFFIXES = {"images": IMAGE_SUFFIXES, "videos": VIDEO_SUFFIXES}


@dataclass(frozen=True, slots=True)
class Dataset:
    """The items in the order they are worked on (by name), and the folder names start from."""

    root: Path | str  # a url of one on a store
    items: tuple[Item, ...]
