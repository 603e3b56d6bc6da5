"""Where a format wants its pictures, and what it wants them called."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from string import Formatter

from exporters.staging import ENCODINGS


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format lays out its pictures.

    `still` and `frame` are paths below `folder`, in which stand `{split}`, the set, and `{item}`,
    the name of a still or the folder of a video; in `frame` also `{index}`, its place in the video
    from 0 on, or `{number}`, its place among the frames that are exported, from `first` on.
    """

    folder: str = "images"  # that they lie in, below the export; "": the export itself
    still: str = "{split}/{item}"
    frame: str = "{split}/{item}/{index:06d}"
    first: int = 0
    unsplit: str = ""  # the set's name where there is no split
    videos_only: bool = False  # stills have no place in it
    labelled: bool = False  # each picture has a label file of the same stem
    portable: bool = False  # names of letters, digits, `_` and `-`, in no folders
    suffix: str = ""  # of every picture, which is written anew where it is none; "": its own
    min_side_px: int = 1  # smaller pictures are refused by the format's readers

    def is_picture(self, name: str) -> bool:
        """Whether a file of an export, named below its folder, is one of its pictures."""
        return PurePosixPath(name).suffix.lower() in ENCODINGS and any(
            fnmatchcase(name, "/".join(filter(None, (self.folder, _glob(pattern)))))
            for pattern in (self.still, f"{self.frame}.*")
        )


def _glob(pattern: str) -> str:
    """A pattern of a layout as one of file names; a set that has no name has no folder."""
    parts = pattern.removeprefix("{split}/")
    return "".join(f"{text}*" if field else text for text, field, *_ in Formatter().parse(parts))
