"""Getting pictures into an export: linked or copied, or written anew where trainers would misread.

A file is linked or copied as it is when every trainer reads the picture its labels describe: an
upright 8-bit RGB or grey JPEG, PNG, BMP, TIFF or WebP. Any other (an EXIF rotation, 16 bit, alpha,
a palette, CMYK, GIF, JPEG 2000, ...) is decoded as `annotate` decoded it and written again: JPEG at
quality 95 without chroma subsampling where the name says JPEG, without loss otherwise.

A JPEG that does not end with its end marker is copied, never linked: Ultralytics "restores" such
files when it scans a dataset, older releases by writing through the link into the original.

Frames of a video file are decoded once more, in one pass, and written as JPEG at quality 95. Frames
of a folder are treated as stills, each under its own suffix.

A link is a hard link: it is a file like any other for whoever reads, moves or packs the export. On
another file system, where there is none, pictures are copied.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import tee
from pathlib import Path
from typing import Any, Literal

from PIL import Image as PilImage

from annotate.data.types import Depth, FrameRecord, Image, Item
from annotate.decode.depth import Scale
from annotate.decode.image import FORMATS, needs_rewriting, read_image
from annotate.decode.video import open_video, scale_of_folder
from annotate.discover.files import numbered_images
from annotate.errors import MediaError

Staging = Literal["link", "copy", "none"]

READABLE_FORMATS = frozenset({"JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP"})
JPEG_END = b"\xff\xd9"
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"format": "TIFF", "compression": "tiff_lzw"}
ENCODINGS: dict[str, dict[str, Any]] = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": {"format": "PNG", "compress_level": 1},
    ".bmp": {"format": "BMP"},
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": {"format": "WEBP", "lossless": True},
}
# Of what is JPEG too; everything else is a .png.
OTHER_SUFFIXES = {".jfif": ".jpg", ".jpe": ".jpg", ".mpo": ".jpg"}


def staged_suffix(suffix: str) -> str:
    """The suffix a file is staged under: its own where trainers know it."""
    lower = suffix.lower()
    return suffix if lower in ENCODINGS else OTHER_SUFFIXES.get(lower, ".png")


Target = Callable[[FrameRecord], Path]
Staged = Iterator[tuple[FrameRecord, str]]
"""Each record, and "" or the reason why its picture cannot be at its target."""


def stage_stills(
    source: Path,
    records: Iterable[FrameRecord],
    target: Target,
    *,
    how: Staging,
    depth: Depth = "auto",
) -> Staged:
    """Put one still at the target of each of its records."""
    for record in records:
        size_wh = record.width, record.height
        yield record, stage_still(source, target(record), size_wh=size_wh, how=how, depth=depth)


def stage_frames(
    source: Path,
    records: Iterable[FrameRecord],
    target: Target,
    *,
    how: Staging,
    depth: Depth = "auto",
) -> Staged:
    """Put the frames of one video, in their order, at the targets of their records.

    Values of more than 8 bits are scaled by `depth`, as they were for annotation.
    """
    if how == "none":
        return ((record, "") for record in records)
    stage = _stage_numbered if _is_folder(source) else _stage_decoded
    return stage(source, records, target, how, depth)


def _stage_numbered(
    source: Path, records: Iterable[FrameRecord], target: Target, how: Staging, depth: Depth
) -> Staged:
    try:
        paths = numbered_images(source)
        scale = scale_of_folder(paths, depth) or depth
    except OSError:
        yield from ((record, _why(source)) for record in records)
        return
    for record in records:
        size_wh = record.width, record.height
        if record.frame_index >= len(paths):
            yield record, "missing"
            continue
        path = paths[record.frame_index]
        yield record, stage_still(path, target(record), size_wh=size_wh, how=how, depth=scale)


def _stage_decoded(
    source: Path, records: Iterable[FrameRecord], target: Target, how: Staging, depth: Depth
) -> Staged:
    due, waiting = tee(records)  # both go in step, so that one record is held
    reason = "changed"  # of what is left when the video has come to its end
    try:
        video = open_video(Item(source.name, source, "video", depth=depth))
        frames = video.frames_at(record.frame_index for record in due)
        for frame, record in zip(frames, waiting, strict=False):
            yield record, _write_frame(frame.image, target(record), (record.width, record.height))
    except MediaError:
        reason = _why(source)
    for record in waiting:
        yield record, reason


def _write_frame(image: Image, target: Path, size_wh: tuple[int, int]) -> str:
    if image.shape[1::-1] != size_wh:
        return "changed"
    target.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(image).save(target, **_JPEG)
    return ""


def stage_still(
    source: Path,
    target: Path,
    *,
    size_wh: tuple[int, int],
    how: Staging,
    depth: Depth | Scale = "auto",
) -> str:
    """Put a picture at `target`; returns "" or the reason why it cannot be there.

    A file that no longer has the size its labels were made for is another picture.
    """
    if how == "none":
        return ""
    try:
        found_wh, complete, rewritten = _look(source, depth)
    except (OSError, MediaError):
        return _why(source)
    if found_wh != size_wh:
        return "changed"
    target.parent.mkdir(parents=True, exist_ok=True)
    if rewritten is not None:
        PilImage.fromarray(rewritten).save(target, **ENCODINGS[target.suffix.lower()])
    elif how == "copy" or not complete or not _linked(source, target):
        shutil.copyfile(source, target)
    return ""


def _is_folder(source: Path) -> bool:
    try:
        return source.is_dir()
    except PermissionError:  # of a folder above it
        return False


def _why(source: Path) -> str:
    """The reason why a picture cannot be read."""
    try:
        return "unreadable" if source.exists() else "missing"
    except PermissionError:
        return "unreadable"


def _look(source: Path, depth: Depth | Scale) -> tuple[tuple[int, int], bool, Image | None]:
    """Upright size, whether the file ends as it should, and the pixels if it must be rewritten."""
    if not needs_rewriting(source):
        with PilImage.open(source, formats=FORMATS) as picture:
            found, size_wh = picture.format, picture.size
        if found in READABLE_FORMATS:
            return size_wh, found not in ("JPEG", "MPO") or _ends_with(source, JPEG_END), None
    image = read_image(source, depth=depth)
    return (image.shape[1], image.shape[0]), True, image


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-len(end), os.SEEK_END)
        return file.read() == end


def _linked(source: Path, target: Path) -> bool:
    """Whether a link could be made; not from another file system, nor on every one."""
    try:
        os.link(source.resolve(), target)  # of what a link in the dataset leads to
    except (OSError, NotImplementedError):
        return False
    return True
