"""COCO's family of files: lists of images, annotations and more, an entry a line.

Images go straight into the file and annotations wait beside it, so that memory does not grow.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from pycocotools import mask as coco_mask

from annotate.data.polygons import coco_polygons
from annotate.data.types import FrameRecord, Instance
from exporters.pictures import Picture

Entry = dict[str, Any]
DESCRIPTION = "Instances found by annotate"


@dataclass(slots=True)
class Entries:
    """A JSON list, one entry a line."""

    file: IO[str]
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Add an entry at its end."""
        self._write(as_json(entry))

    def add_long(
        self, head: Entry, name: str, texts: Iterator[str], tail: Callable[[], Entry]
    ) -> None:
        """An entry with a list `name` that is not made as a whole; `tail` is asked after it."""
        self._write(as_json(head)[:-1] + f',"{name}":[')
        for n, text in enumerate(texts):
            self.file.write(f",{text}" if n else text)
        self.file.write("]," + as_json(tail())[1:])

    def _write(self, text: str) -> None:
        self.file.write((",\n" if self.count else "\n") + text)
        self.count += 1


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is being written."""

    images: Entries  # or videos, whichever annotations are of
    annotations: Entries
    more: dict[str, list[Entry]] = field(default_factory=dict)  # lists that follow, if filled


@contextmanager
def document(path: Path, head: Mapping[str, Any], of: str = "images") -> Iterator[Document]:
    """A file that begins with `head`, of annotations of images, or of videos."""
    begin = {"info": {"description": DESCRIPTION, "version": "1.0"}, "licenses": [], **head}
    with (
        path.open("w", encoding="utf-8", newline="\n") as file,
        TemporaryFile("w+", encoding="utf-8", newline="\n", dir=path.parent) as waiting,
    ):
        file.write(as_json(begin)[:-1] + f',\n"{of}": [')
        made = Document(Entries(file), Entries(waiting))
        yield made
        file.write('\n],\n"annotations": [')
        waiting.seek(0)
        shutil.copyfileobj(waiting, file)
        for name, listed in made.more.items():
            if listed:
                file.write(f'\n],\n"{name}": [')
                entries = Entries(file)
                for entry in listed:
                    entries.add(entry)
        file.write("\n]}\n")


@contextmanager
def documents(
    folder: Path,
    sets: tuple[str, ...],
    pattern: str,
    head: Mapping[str, Any],
    of: str = "images",
) -> Iterator[dict[str, Document]]:
    """A file for each set, by its name; `pattern` has `{}` for it, `default` where it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                document(folder / pattern.format(name or "default"), head, of)
            )
            for name in sets
        }


def categories(names: list[str]) -> list[Entry]:
    """The classes, counted from 1."""
    return [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)]


def image_entry(picture: Picture, image_id: int) -> Entry:
    """An image, as every file of the family has it."""
    return {
        "id": image_id,
        "file_name": picture.name,
        "width": picture.record.width,
        "height": picture.record.height,
        "source": picture.source,
    }


class Videos:
    """The videos of all files, each entered with its first image."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def place(self, picture: Picture, written: Document) -> Entry:
        """Where an image is in its video; nothing of a still."""
        if picture.record.media != "video":
            return {}
        video = self.enter(picture.record, written)
        return {"video_id": video, "frame_index": picture.record.frame_index}

    def enter(self, record: FrameRecord, written: Document) -> int:
        """The id of a frame's video."""
        if record.item not in self._ids:
            self._ids[record.item] = len(self._ids) + 1
            entry = {
                "id": self._ids[record.item],
                "name": record.item,
                "width": record.width,
                "height": record.height,
            }
            written.more.setdefault("videos", []).append(entry)
        return self._ids[record.item]


def outline(instance: Instance, tolerance: float | None) -> Any:
    """A mask as polygons that may leave it by `tolerance` px; None: as its exact run lengths."""
    if tolerance is not None:
        return coco_polygons(instance.mask, tolerance)
    return {"size": list(instance.mask.size_hw), "counts": instance.mask.counts}


def place(instance: Instance) -> Entry:
    """Area and box x, y, w, h of a mask, in px."""
    rle = instance.mask.coco
    return {
        "area": int(cast(Any, coco_mask.area(rle))),
        "bbox": [int(v) for v in cast(Any, coco_mask.toBbox(rle))],
    }


def said_of(instance: Instance) -> Entry:
    """What records say of an instance beside its class and its mask, as far as they do."""
    said: Entry = {
        "score": instance.score,
        "mask_score": instance.mask_score,
        "phrase": instance.phrase,
    }
    signals = {"agreement": instance.agreement, "verified": instance.verified}
    said |= {name: value for name, value in signals.items() if value is not None}
    if instance.track_id:
        said["track_id"] = instance.track_id
    return said


def as_json(value: Any) -> str:
    """One line of ASCII: pycocotools reads with the system's encoding, which need not be UTF-8."""
    return json.dumps(value, separators=(",", ":"))
