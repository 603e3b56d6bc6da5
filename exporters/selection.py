"""What goes into an export: frames and instances that count, named, split and staged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

import numpy as np
import pyarrow.dataset as pads

from annotate import records
from annotate.decisions import Applied, Verdict
from annotate.errors import MediaError
from annotate.run_folder import Run
from annotate.spool import at_hand
from annotate.types import ClassList, FrameRecord, Instance, Item, Media
from exporters.names import frame_name, plan_names
from exporters.options import ExportOptions, Tally
from exporters.splits import group_of, split_of
from exporters.staging import Staged, Staging, Target, stage_frames, stage_stills


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


def pictures(
    run: Run, options: ExportOptions, layout: Layout, images_dir: Path, tally: Tally
) -> Iterator[Picture]:
    """The run's pictures by item, staged into `images_dir` one by one; counts go to `tally`.

    A picture that cannot be staged is left out with its labels: a trainer would stop at it.
    """
    names = _names(run, options, layout)

    def placed(record: FrameRecord) -> tuple[str, str]:
        split = split_of(group_of(record), options.split, options.split_seed)
        name = names.get(record.item, record.item)
        if record.media == "video":
            name = frame_name(name, record.frame_index)
        return split, "/".join(filter(None, (split or layout.unsplit, name)))

    selection = Selection(run, options.only, tally)
    for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
        chosen = _chosen(rows, options, layout, tally, selection)
        staged = _staged(
            run.source(item, media),
            chosen,
            lambda record: images_dir / placed(record)[1],
            how=options.media,
        )
        for record, reason in staged:
            if reason:
                tally.left_out[reason] += 1
                continue
            split, name = placed(record)
            kept = tuple(kept_instances(record, run.classes, options.threshold, tally))
            tally.images[split] += 1
            tally.instances.update(i.class_id for i in kept)
            yield Picture(record, kept, split, name)


class Selection:
    """Which records of a run an export takes, with the decisions of its review carried out.

    `all` leaves out what was rejected, pictures and instances. `reviewed` has the pictures about
    which, or on which, a person decided something. `accepted` has the pictures that were accepted,
    without instances that are to be fixed; of others only the instances that were accepted.
    """

    def __init__(self, run: Run, only: str, tally: Tally) -> None:
        self._run, self._only, self._tally = run, only, tally
        self._decisions = run.decisions()
        self._idle = only == "all" and not self._decisions

    def take(self, record: FrameRecord) -> FrameRecord | None:
        """The part of a record that is exported, None when the whole picture is left out."""
        if self._idle or record.status != "ok":
            return record
        applied = self._decisions.apply(record, self._run.classes)
        self._leave_out("deleted in review", applied.deleted)
        self._leave_out("decision in conflict", len(applied.conflicts))
        if applied.verdict == "reject":
            self._leave_out("rejected", 1)
            return None
        if self._only == "reviewed" and not applied.touched:
            self._leave_out("not reviewed", 1)
            return None
        if self._only == "accepted":
            return self._accepted(applied)
        return self._without(applied, {"reject"}, "rejected")

    def _accepted(self, applied: Applied) -> FrameRecord | None:
        if applied.verdict == "accept":
            return self._without(applied, {"reject", "fix"}, "not accepted")
        if "accept" not in applied.verdicts.values():
            self._leave_out("not accepted", 1)
            return None
        return self._without(applied, {"reject", "fix", None}, "not accepted")

    def _without(self, applied: Applied, unwanted: Set[Verdict | None], reason: str) -> FrameRecord:
        record, verdicts = applied.record, applied.verdicts
        kept = tuple(i for i in record.instances if verdicts.get(i.instance_id) not in unwanted)
        self._leave_out(reason, len(record.instances) - len(kept))
        return replace(record, instances=kept)

    def _leave_out(self, reason: str, count: int) -> None:
        if count:
            self._tally.left_out[reason] += count


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


def _chosen(
    rows: Iterable[FrameRecord],
    options: ExportOptions,
    layout: Layout,
    tally: Tally,
    selection: Selection,
) -> Iterator[FrameRecord]:
    """The records of one item that have a picture for this export."""
    annotated = 0
    for record in rows:
        if record.status != "ok":
            tally.left_out["failed"] += 1
            continue
        if min(record.width, record.height) < layout.min_side_px:
            tally.left_out[f"under {layout.min_side_px} px"] += 1
            continue
        annotated += 1
        if (annotated - 1) % options.frames_stride:
            tally.left_out["between frames_stride"] += 1
            continue
        if (taken := selection.take(record)) is not None:
            yield taken


def _names(run: Run, options: ExportOptions, layout: Layout) -> dict[str, str]:
    """Staged names by item; without staging, COCO keeps the names the dataset has."""
    if options.media == "none" and not layout.labelled:
        return {}
    names: dict[str, list[str]] = {"image": [], "video": []}
    for item, media in items_with_pictures(run):
        names[media].append(item)
    return plan_names(names["image"], names["video"], labelled=layout.labelled)


def items_with_pictures(run: Run) -> list[tuple[str, Media]]:
    """Every item of the run that has at least one annotated picture."""
    if not records.part_paths(run.records_dir):
        return []
    table = run.table().to_table(columns=["item", "media"], filter=pads.field("status") == "ok")
    rows = table.group_by(["item", "media"]).aggregate([]).to_pylist()
    return sorted((row["item"], row["media"]) for row in rows)


def kept_instances(
    record: FrameRecord, classes: ClassList, threshold: float, tally: Tally
) -> Iterator[Instance]:
    """The instances that count: from their class's own threshold, else `threshold`, on.

    What a person vouched for counts whatever its score and size.
    """
    for instance in record.instances:
        spec = classes.classes[instance.class_id]
        limit = threshold if spec.threshold is None else spec.threshold
        if instance.vouched and instance.area:
            yield instance
        # Scores are stored as float32, in which 0.9 is a little less than 0.9.
        elif np.float32(instance.score) < np.float32(limit):
            tally.left_out["below threshold"] += 1
        elif spec.min_area is not None and instance.area < spec.min_area:
            tally.left_out["under min_area"] += 1
        elif spec.max_area is not None and instance.area > spec.max_area:
            tally.left_out["over max_area"] += 1
        elif instance.area == 0:
            tally.left_out["empty mask"] += 1
        else:
            yield instance
