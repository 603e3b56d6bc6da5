"""What a file of boxes says of one picture, whatever its format, and what a reader of one is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotate.data.types import Frame, Rle
from annotate.discover.coco_file import LONGEST_OUTLINE
from annotate.errors import MediaError
from annotate.store.remote import is_url, read_text

# Pictures, which say nothing of objects; a PNG may, in its own folder, and is read.
NO_LABELS = frozenset({".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Labelled:
    """The objects of one picture; row i of every field is one of them."""

    boxes_xyxy: npt.NDArray[np.float32]  # (m, 4) px of the upright picture
    scores: npt.NDArray[np.float32]  # (m,) 0..1; 1 where the file has none
    names: Sequence[str]  # (m,) classes, as the file calls them
    masks: Sequence[Rle | None]  # (m,)
    size_hw: tuple[int, int] | None = None  # of the picture, px, as far as the file says

    def __len__(self) -> int:
        return len(self.names)


NOTHING = Labelled(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ())


class Labels(Protocol):
    """A file, or folder, of boxes."""

    @property
    def names(self) -> Sequence[str]:
        """Its classes, used or not."""

    @property
    def has_scores(self) -> bool:
        """Whether any of its objects has a score."""

    @property
    def sha256(self) -> str:
        """Of all that it holds."""

    @property
    def may_lack(self) -> bool:
        """Whether pictures without objects may be missing from it, as YOLO has it."""

    @property
    def example(self) -> str:
        """A name of one of its pictures."""

    @property
    def remarks(self) -> Sequence[str]:
        """What is odd in it and does not hinder, a line each."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """What of it is no object, counted."""

    def of(self, frame: Frame) -> Labelled | None:
        """What it says of a frame; None if it does not know it.

        Raises MediaError where what it says cannot be, or may mean another picture.
        """


def made(
    rows: Sequence[tuple[Sequence[float], float | None, str, Rle | None]],
    size_hw: tuple[int, int] | None,
    where: str,
) -> Labelled:
    """Of rows of box xyxy px, score, class and mask. MediaError, which names `where`: a score."""
    for _, score, _, _ in rows:
        if score is not None and not 0 <= score <= 1:
            raise MediaError(f"{where}: a score of {score:g}, expected 0..1")
    return Labelled(
        np.array([box for box, *_ in rows], np.float32).reshape(-1, 4),
        np.array([1.0 if score is None else score for _, score, *_ in rows], np.float32),
        tuple(name for _, _, name, _ in rows),
        tuple(mask for *_, mask in rows),
        size_hw,
    )


def digest(place: str) -> str:
    """The sha256 of a file, here or on a store."""
    if is_url(place):
        return hashlib.sha256(read_text(place).encode()).hexdigest()
    with Path(place).expanduser().open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(place: Path | str) -> str:
    """The sha256 of a file, or of all in a folder that is no picture."""
    if is_url(place) or not Path(place).is_dir():
        return digest(str(place))
    whole = hashlib.sha256()
    for path in sorted(Path(place).rglob("*")):
        if path.is_file() and path.suffix.lower() not in NO_LABELS:
            name = path.relative_to(place).as_posix()
            whole.update(f"{name}\0{digest(str(path))}\0".encode())
    return whole.hexdigest()


def polygon(points_xy: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> Rle:
    """A mask from the corners (n >= 3, 2) of one polygon, px, by COCO's rule.

    Raises MediaError for one that is no object's: its outline would be followed pixel by pixel.
    """
    from pycocotools import mask as coco_mask

    h, w = size_hw
    length = np.abs(points_xy - np.roll(points_xy, 1, axis=0)).max(1).sum()
    inside = (points_xy >= [-w, -h]) & (points_xy <= [2 * w, 2 * h])
    if not inside.all() or not length <= LONGEST_OUTLINE * (w + h):
        raise MediaError(f"a polygon that no object in a picture of {w}x{h} has")
    (rle,) = coco_mask.frPyObjects([points_xy.ravel().tolist()], *size_hw)
    return Rle(rle["counts"].decode("ascii"), size_hw)
