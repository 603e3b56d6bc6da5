"""What goes into an export: frames and instances that count, named, split and staged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from annotate.data.names import frame_name, plan_names
from annotate.data.selection import Selection, Tally, kept_instances
from annotate.data.splits import group_of, split_of
from annotate.data.types import FrameRecord, Instance, Item
from annotate.decode.download import at_hand
from annotate.errors import MediaError
from annotate.record.run_folder import Run
from exporters.options import ExportOptions
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

    selection = Selection(run.decisions(), run.classes, options.only, tally)
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
    for item, media in run.items_with_pictures():
        names[media].append(item)
    return plan_names(
        names["image"], names["video"], labelled=layout.labelled, suffix_for=staged_suffix
    )
