"""What goes into an export: frames and instances that count, named, split and staged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from annotate.config.settings import ExportSettings
from annotate.data.names import frame_name, plan_names
from annotate.data.selection import Selection, Tally, kept_instances
from annotate.data.splits import group_of, split_of
from annotate.data.types import ClassList, FrameRecord, Instance, Item
from annotate.decode.download import at_hand
from annotate.errors import MediaError
from annotate.record.resume import changed_items
from annotate.record.run_folder import Run
from exporters.staging import Staged, Staging, Target, stage_frames, stage_stills, staged_suffix


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format lays out its pictures."""

    labelled: bool = False  # each picture has a label file of the same stem
    unsplit: str = ""  # the folder below images/ that holds everything when there is no split
    min_side_px: int = 1  # smaller pictures are refused by the format's readers


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of an export and the instances on it that count."""

    record: FrameRecord
    instances: tuple[Instance, ...]
    split: str  # "" without a split
    name: str  # below images/, the split's folder included


class Pictures:
    """The pictures of one export, by item, each staged in `images_dir` as it is taken.

    One at a time is in memory. A picture that cannot be staged is left out with its labels: a
    trainer would stop at it. They can be gone through once, since each is staged and counted.
    """

    classes: ClassList  # an instance's `class_id` is an index into it
    shares: Mapping[str, float]  # of the pictures, by split; empty without a split
    images_dir: Path  # `images_dir / picture.name` is the picture's file, if media are staged
    tally: Tally  # what was taken and what was left out, so far

    def __init__(
        self,
        run: Run,
        layout: Layout,
        images_dir: Path,
        *,
        threshold: float,
        only: str,
        settings: ExportSettings,
    ) -> None:
        self.classes = run.classes
        self.shares = settings.split or {}
        self.images_dir = images_dir
        self.tally = Tally()
        self._run, self._layout, self._settings = run, layout, settings
        self._threshold, self._only = threshold, only
        self._names: dict[str, str] = {}  # below images/, by item
        self._begun = False

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, as they were asked for; none without a split."""
        return tuple(self.shares)

    def __iter__(self) -> Iterator[Picture]:
        if self._begun:
            raise RuntimeError("the pictures of an export can be gone through once")
        self._begun = True
        return self._pictures()

    def _pictures(self) -> Iterator[Picture]:
        run, tally = self._run, self.tally
        self._names = self._planned_names()
        selection = Selection(run.decisions(), run.classes, self._only, tally)
        changed = changed_items(run)
        for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
            if item in changed:  # its labels are of another picture
                tally.left_out["changed"] += sum(1 for _ in rows)
                continue
            staged = _staged(
                run.source(item, media),
                self._chosen(rows, selection),
                lambda record: self.images_dir / self._placed(record)[1],
                how=self._settings.media,
            )
            for record, reason in staged:
                if reason:
                    tally.left_out[reason] += 1
                    continue
                split, name = self._placed(record)
                kept = tuple(kept_instances(record, run.classes, self._threshold, tally))
                tally.images[split] += 1
                tally.instances.update(i.class_id for i in kept)
                yield Picture(record, kept, split, name)

    def _planned_names(self) -> dict[str, str]:
        """Staged names by item; without staging, COCO keeps the names the dataset has."""
        labelled = self._layout.labelled
        if self._settings.media == "none" and not labelled:
            return {}
        names: dict[str, list[str]] = {"image": [], "video": []}
        for item, media in self._run.items_with_pictures():
            names[media].append(item)
        return plan_names(
            names["image"], names["video"], labelled=labelled, suffix_for=staged_suffix
        )

    def _placed(self, record: FrameRecord) -> tuple[str, str]:
        """The split of a picture, and its name below images/."""
        split = split_of(group_of(record), self.shares, self._settings.split_seed)
        name = self._names.get(record.item, record.item)
        if record.media == "video":
            name = frame_name(name, record.frame_index)
        return split, "/".join(filter(None, (split or self._layout.unsplit, name)))

    def _chosen(self, rows: Iterable[FrameRecord], selection: Selection) -> Iterator[FrameRecord]:
        """The records of one item that have a picture for this export."""
        left_out, min_side_px = self.tally.left_out, self._layout.min_side_px
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


def _staged(item: Item, records: Iterator[FrameRecord], target: Target, *, how: Staging) -> Staged:
    """Put the pictures of an item where they belong; one on a store is downloaded for it."""
    stage = stage_frames if item.media == "video" else stage_stills
    if item.remote is None or how == "none":
        yield from stage(item.path, records, target, how=how)
    elif (first := next(records, None)) is not None:  # nothing is downloaded for no picture
        records = chain([first], records)
        try:
            with at_hand(item) as here:  # only for a while, so that there is nothing to link to
                yield from stage(here.path, records, target, how="copy")
        except MediaError:
            yield from ((record, "unreadable") for record in records)
