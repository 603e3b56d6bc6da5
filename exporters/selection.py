"""What goes into an export: frames and instances that count, named, split and staged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset as pads

from annotate import records
from annotate.run_folder import Run
from annotate.types import ClassSpec, FrameRecord, Instance
from exporters.names import plan_names
from exporters.options import ExportOptions, Tally
from exporters.splits import group_of, split_of
from exporters.staging import stage_still


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
    for record in run.frames():
        if record.status != "ok":
            tally.left_out["failed"] += 1
            continue
        if min(record.width, record.height) < layout.min_side_px:
            tally.left_out[f"under {layout.min_side_px} px"] += 1
            continue
        split = split_of(group_of(record), options.split, options.split_seed)
        name = names.get(record.item, record.item)
        name = "/".join(filter(None, (split or layout.unsplit, name)))
        reason = stage_still(
            run.root / record.item,
            images_dir / name,
            size_wh=(record.width, record.height),
            how=options.media,
        )
        if reason:
            tally.left_out[reason] += 1
            continue
        kept = tuple(_kept(record, run.classes.classes, options.threshold, tally))
        tally.images[split] += 1
        tally.instances.update(i.class_id for i in kept)
        yield Picture(record, kept, split, name)


def _names(run: Run, options: ExportOptions, layout: Layout) -> dict[str, str]:
    """Staged names by item; without staging, COCO keeps the names the dataset has."""
    has_names = options.media != "none" or layout.labelled
    if not has_names or not records.part_paths(run.records_dir):
        return {}
    stills = (pads.field("status") == "ok") & (pads.field("media") == "image")
    table = run.table().to_table(columns=["item"], filter=stills)
    return plan_names(table["item"].to_pylist(), labelled=layout.labelled)


def _kept(
    record: FrameRecord, classes: tuple[ClassSpec, ...], threshold: float, tally: Tally
) -> Iterator[Instance]:
    for instance in record.instances:
        spec = classes[instance.class_id]
        limit = threshold if spec.threshold is None else spec.threshold
        # Scores are stored as float32, in which 0.9 is a little less than 0.9.
        if np.float32(instance.score) < np.float32(limit):
            tally.left_out["below threshold"] += 1
        elif spec.min_area is not None and instance.area < spec.min_area:
            tally.left_out["under min_area"] += 1
        elif spec.max_area is not None and instance.area > spec.max_area:
            tally.left_out["over max_area"] += 1
        elif instance.area == 0:
            tally.left_out["empty mask"] += 1
        else:
            yield instance
