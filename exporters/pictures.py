"""What goes into an export: frames and instances that count, named, split and staged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from annotate.config.settings import ExportSettings
from annotate.data.names import FRAME_SUFFIX, plan_names, portable_names
from annotate.data.selection import Selection, Tally, kept_instances
from annotate.data.splits import split_items
from annotate.data.types import ClassList, FrameRecord, Instance, Item
from annotate.decode.download import at_hand
from annotate.discover.files import numbered_images
from annotate.errors import MediaError
from exporters.layout import Layout
from exporters.staging import Staged, Staging, Target, stage_frames, stage_stills, staged_suffix

if TYPE_CHECKING:
    from annotate.record.run_folder import Run


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of an export and the instances on it that count."""

    record: FrameRecord
    instances: tuple[Instance, ...]
    split: str  # "" without a split
    name: str  # below `Pictures.images_dir`
    source: str  # its file, below the dataset's root; of a frame of a video, the video's
    item: str  # what the export calls its item: a name with its suffix, a video's folder
    number: int  # of a frame among those exported of its video, from `Layout.first` on


class Pictures:
    """The pictures of one export, by item, each staged in `images_dir` as it is taken.

    One at a time is in memory. A picture that cannot be staged is left out with its labels: a
    trainer would stop at it. They can be gone through once, since each is staged and counted.
    """

    classes: ClassList  # an instance's `class_id` is an index into it
    layout: Layout
    folder: Path  # of the export
    images_dir: Path  # `images_dir / picture.name` is the picture's file, if media are staged
    tally: Tally  # what was taken and what was left out, so far

    def __init__(
        self,
        run: Run,
        layout: Layout,
        folder: Path,
        *,
        threshold: float,
        only: str,
        settings: ExportSettings,
    ) -> None:
        self.classes = run.classes
        self.layout, self.folder = layout, folder
        self.images_dir = folder / layout.folder
        self.tally = Tally()
        self._run, self._settings = run, settings
        self._threshold, self._only = threshold, only
        self._items = run.items_with_pictures()
        self._splits = split_items(self._items, settings.split, settings.split_seed)
        self._names = self._planned_names()  # below images/, by item
        self._begun = False
        self._frames = _Frames(folder / "pictures.jsonl")

    def close(self) -> None:
        """End `pictures.jsonl`, which says what frame each picture is."""
        self._frames.close()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the sets, as they were asked for; none without a split."""
        return self._splits.names

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets as the format has them: one of its own without a split."""
        return self.splits or (self.layout.unsplit,)

    @property
    def staged(self) -> bool:
        """Whether the pictures are in the export, and not its labels alone."""
        return self._settings.media != "none"

    def __iter__(self) -> Iterator[Picture]:
        if self._begun:
            raise RuntimeError("the pictures of an export can be gone through once")
        self._begun = True
        return self._pictures()

    def _pictures(self) -> Iterator[Picture]:
        run, tally = self._run, self.tally
        selection = Selection(run.decisions(), run.classes, self._only, tally)
        if run.damaged:
            tally.left_out["damaged"] = len(run.damaged)
        from annotate.record.resume import changed_items  # which takes pyarrow

        changed = changed_items(run)
        planned = set(self._items)
        for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
            if item in changed:  # its labels are of another picture
                tally.left_out["changed"] += sum(1 for _ in rows)
                continue
            split = self._splits.of(item)
            if split is None and (item, media) in planned:
                tally.left_out["in no folder of a set"] += sum(1 for _ in rows)
                continue
            if self.layout.videos_only and media == "image":
                tally.left_out["still"] += sum(1 for _ in rows)
                continue
            source = run.source(item, media)
            naming = _Naming(
                self.layout,
                split or self.layout.unsplit,
                self._names.get(item),
                _files(source),
                self.layout.first,
            )
            staged = _staged(
                source,
                self._chosen(rows, selection),
                lambda record, naming=naming: self.images_dir / naming.name(record),  # type: ignore[misc]
                how=self._settings.media,
            )
            for record, reason in staged:
                if reason:
                    tally.left_out[reason] += 1
                    continue
                kept = tuple(kept_instances(record, run.classes, self._threshold, tally))
                tally.images[split or ""] += 1
                tally.instances.update((split or "", i.class_id) for i in kept)
                name, number = naming.name(record), naming.number
                naming.number += 1
                self._frames.add(name, record.frame_id)
                yield Picture(
                    record, kept, split or "", name, naming.source(record), naming.item(record),
                    number,
                )  # fmt: skip

    def _planned_names(self) -> dict[str, str]:
        """Staged names by item; without staging, COCO keeps the names the dataset has."""
        layout = self.layout
        if not self.staged and not layout.labelled and not layout.portable:
            return {}
        names: dict[str, list[str]] = {"image": [], "video": []}
        for item, media in self._items:
            names[media].append(item)
        if layout.portable:
            return portable_names(names["image"], names["video"], suffix_for=self._suffix)
        return plan_names(
            names["image"], names["video"], labelled=layout.labelled, suffix_for=self._suffix
        )

    def _suffix(self, suffix: str) -> str:
        """Of a still, by that of its file."""
        return self.layout.suffix or staged_suffix(suffix)

    def _chosen(self, rows: Iterable[FrameRecord], selection: Selection) -> Iterator[FrameRecord]:
        """The records of one item that have a picture for this export."""
        left_out, min_side_px = self.tally.left_out, self.layout.min_side_px
        annotated = 0
        for record in rows:
            if record.status != "ok":
                left_out["failed"] += 1
                continue
            if min(record.width, record.height) < min_side_px:
                left_out[f"under {min_side_px} px"] += 1
                continue
            annotated += 1
            if (annotated - 1) % self._settings.frames_stride:
                left_out["between frames_stride"] += 1
                continue
            if (taken := selection.take(record)) is not None:
                yield taken


class _Frames:
    """`pictures.jsonl`: the frame of the dataset that each picture is, by its name.

    A csv would be taken for a table of data, by Datumaro for one.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def add(self, name: str, frame_id: str) -> None:
        print(json.dumps({"picture": name, "frame_id": frame_id}), file=self._file)

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class _Naming:
    """How the pictures of one item are called."""

    layout: Layout
    split: str
    planned: str | None  # the item's name, or its folder's; None: as in the dataset
    files: tuple[str, ...] | None  # names of the frames of a folder, in their order
    number: int  # of the next frame

    def name(self, record: FrameRecord) -> str:
        """Of a picture, below `Pictures.images_dir`."""
        item = self.item(record)
        file = self._file(record)
        if record.media == "image":
            name = self.layout.still.format(split=self.split, item=item)
        else:
            suffix = FRAME_SUFFIX if file is None else staged_suffix(PurePosixPath(file).suffix)
            name = self.layout.frame.format(
                split=self.split, item=item, index=record.frame_index, number=self.number
            ) + (self.layout.suffix or suffix)
            if file is not None and self.planned is None:
                name = f"{name.rpartition('/')[0]}/{file}"
        return name.removeprefix("/")  # of a set without a name

    def item(self, record: FrameRecord) -> str:
        """What the export calls the item."""
        return record.item if self.planned is None else self.planned

    def source(self, record: FrameRecord) -> str:
        """The file a picture comes from."""
        file = self._file(record)
        return record.item if file is None else f"{record.item}/{file}"

    def _file(self, record: FrameRecord) -> str | None:
        known = self.files is not None and record.frame_index < len(self.files)
        return self.files[record.frame_index] if self.files is not None and known else None


def _files(item: Item) -> tuple[str, ...] | None:
    """The names of a folder's frames; None where an item is no folder on this machine."""
    if item.media == "image" or item.remote is not None:
        return None
    try:
        return tuple(p.name for p in numbered_images(item.path)) if item.path.is_dir() else None
    except OSError:
        return None


def _staged(item: Item, records: Iterator[FrameRecord], target: Target, *, how: Staging) -> Staged:
    """Put the pictures of an item where they belong; one on a store is downloaded for it."""
    stage = stage_frames if item.media == "video" else stage_stills
    if item.remote is None or how == "none":
        yield from stage(item.path, records, target, how=how, depth=item.depth)
    elif (first := next(records, None)) is not None:  # nothing is downloaded for no picture
        records = chain([first], records)
        try:
            with at_hand(item) as here:  # only for a while, so that there is nothing to link to
                yield from stage(here.path, records, target, how="copy", depth=item.depth)
        except MediaError:
            yield from ((record, "unreadable") for record in records)
