"""Pictures of a report: small, drawn, and inside the page as data."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image as PilImage

from annotate.data.selection import kept_instances
from annotate.data.types import FrameRecord, Image, Instance
from annotate.decode.download import at_hand
from annotate.errors import MediaError
from annotate.evaluate import uncertainty
from annotate.record.counts import within_limits
from annotate.record.run_folder import Run
from annotate.report.neighbours import groups, varied
from annotate.report.overlay import Overlay
from annotate.report.render import decoded

log = logging.getLogger(__name__)

TILE_WH: Final = (360, 270)  # px
CROP_PX: Final = 150  # of an instance and what is around it
_AROUND: Final = 0.4  # of an instance's longer side
CLASSES: Final = 40  # of which instances are shown
_PER_ITEM: Final = 3  # frames on a sheet
_RANDOM_SEED: Final = 0
_QUALITY: Final = 82


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a page."""

    source: str  # data: URI
    caption: str
    note: str = ""
    also: str = ""  # what it stands for besides itself


@dataclass(frozen=True, slots=True)
class Sheets:
    """The contact sheets of a report."""

    queue: Sequence[Tile]  # the frames to look at first, one of each group
    groups: int  # of neighbours in the whole queue
    best: Sequence[Tile]
    random: Sequence[Tile]
    classes: Mapping[int, Sequence[Tile]]  # by class id: the surest instances, then the least sure
    classes_left_out: int  # with instances, of which none is shown
    gone: int  # pictures that could not be read, whose tiles are missing


def draw(
    run: Run,
    threshold: float,
    signal_table: pa.Table,
    *,
    tiles: int,
    crops: int,
    class_ids: Sequence[int],
) -> Sheets:
    """Draw `tiles` frames per sheet, and `crops` instances per class, half of them uncertain.

    Of `class_ids`, those that have instances, the first `CLASSES` are shown. Every picture is
    decoded once. One that is gone is left out.
    """
    frames = uncertainty.queue(signal_table)
    every = groups(signal_table)
    first = [every[n] for n in varied([g.item for g in every], tiles, _PER_ITEM)]
    reasons = {g.frame_id: g for g in first}
    best = _surest_frames(signal_table, frames, tiles)
    names = frames["frame_id"].to_pylist()
    order = np.random.default_rng(_RANDOM_SEED).permutation(len(names))[:tiles]
    chosen = [names[i] for i in sorted(order)]
    wanted = _class_examples(run, threshold, crops, class_ids[:CLASSES]) if crops else {}
    of_frame: dict[str, list[tuple[int, int]]] = {}  # the (class, place) of crops by frame
    for class_id, examples in wanted.items():
        for place, (frame_id, _) in enumerate(examples):
            of_frame.setdefault(frame_id, []).append((class_id, place))
    overlay = Overlay(run.classes)
    whole: dict[str, Tile] = {}
    cut: dict[tuple[int, int], Tile] = {}
    asked = {*reasons, *best, *chosen, *of_frame}
    seen = 0
    for image, record in _pictures(run, asked, threshold):
        seen += 1
        if record.frame_id in reasons or record.frame_id in best or record.frame_id in chosen:
            drawn = overlay.tile(image, record.instances, TILE_WH)
            whole[record.frame_id] = Tile(_data_uri(drawn), record.frame_id)
        for class_id, place in of_frame.get(record.frame_id, ()):
            instance_id = wanted[class_id][place][1]
            instance = next((i for i in record.instances if i.instance_id == instance_id), None)
            if instance is not None:
                crop = _crop(overlay, image, instance)
                caption = f"{instance.score:.2f} {record.frame_id}"
                cut[class_id, place] = Tile(_data_uri(crop), caption)
    return Sheets(
        queue=[
            replace(whole[f], note=f"{g.doubt:.2f}: {uncertainty.MEANINGS[g.why]}", also=g.also)
            for f, g in reasons.items()
            if f in whole
        ],
        groups=len(every),
        best=[whole[f] for f in best if f in whole],
        random=[whole[f] for f in chosen if f in whole],
        classes={
            c: [cut[c, p] for p in range(len(examples)) if (c, p) in cut]
            for c, examples in wanted.items()
        },
        classes_left_out=len(class_ids) - len(wanted),
        gone=len(asked) - seen,
    )


def _surest_frames(signal_table: pa.Table, frames: pa.Table, count: int) -> list[str]:
    """The most certain frames with instances."""
    with_instances = signal_table.filter(pc.is_valid(signal_table["instance_id"]))["frame_id"]
    full = frames.filter(pc.is_in(frames["frame_id"], pc.unique(with_instances.combine_chunks())))
    full = full.take(pa.array(range(len(full) - 1, -1, -1), pa.int64()))
    rows = varied(full["item"].to_pylist(), count, _PER_ITEM)  # frames of a clip are alike
    return list(full.take(pa.array(rows, pa.int64()))["frame_id"].to_pylist())


def _class_examples(
    run: Run, threshold: float, count: int, wanted: Sequence[int]
) -> dict[int, list[tuple[str, str]]]:
    """Frame and instance ids per class: the highest scores, then the lowest; one per item."""
    limits = run.classes.thresholds(threshold)
    best: dict[int, dict[str, tuple[float, str, str]]] = {}
    worst: dict[int, dict[str, tuple[float, str, str]]] = {}
    columns = ["frame_id", "item", "instances"]
    for batch in run.table().to_batches(columns=columns):
        flat = pc.list_flatten(batch["instances"])
        parent = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
        class_ids, scores = (
            flat.field(k).to_numpy(zero_copy_only=False) for k in ("class_id", "score")
        )
        kept = scores >= np.array(limits, np.float32)[class_ids]
        kept &= np.isin(class_ids, wanted) & within_limits(flat, class_ids, run.classes)
        for class_id in np.unique(class_ids[kept]):
            rows = np.flatnonzero(kept & (class_ids == class_id))
            order = rows[np.argsort(scores[rows], kind="stable")]
            for into, some, sign in (
                (worst.setdefault(int(class_id), {}), order[: 4 * count], 1.0),
                (best.setdefault(int(class_id), {}), order[::-1][: 4 * count], -1.0),
            ):
                for row in some:
                    item = batch["item"][int(parent[row])].as_py()
                    frame_id = batch["frame_id"][int(parent[row])].as_py()
                    said = (
                        sign * float(scores[row]),
                        frame_id,
                        flat[int(row)]["instance_id"].as_py(),
                    )
                    into[item] = min(into.get(item, said), said)
                for item in sorted(into, key=lambda i: into[i])[count:]:
                    del into[item]
    examples: dict[int, list[tuple[str, str]]] = {}
    for class_id in (c for c in wanted if c in best):
        high = [s[1:] for s in sorted(best[class_id].values())][: count // 2]
        low = [s[1:] for s in sorted(worst[class_id].values()) if s[1:] not in high]
        examples[class_id] = high + low[: count - count // 2][::-1]
    return examples


def _pictures(
    run: Run, frame_ids: Collection[str], threshold: float
) -> Iterator[tuple[Image, FrameRecord]]:
    """The frames with the instances that count, decoded item by item."""
    records = run.some_frames(frame_ids)
    for (item, media), rows in groupby(records, lambda r: (r.item, r.media)):
        kept = (
            replace(r, instances=tuple(kept_instances(r, run.classes, threshold))) for r in rows
        )
        try:
            with at_hand(run.source(item, media)) as source:
                yield from decoded(source, kept)
        except MediaError as error:
            log.warning("%s: not in the report: %s", item, error)


def _crop(overlay: Overlay, image: Image, instance: Instance) -> Image:
    """An instance and what is around it, at a size of its own."""
    x0, y0, x1, y1 = instance.box_xyxy
    side = max(x1 - x0, y1 - y0) * (1 + 2 * _AROUND)
    h, w = image.shape[:2]
    left, top = max(0, int((x0 + x1 - side) / 2)), max(0, int((y0 + y1 - side) / 2))
    right, bottom = min(w, int(left + side) + 1), min(h, int(top + side) + 1)
    drawn = overlay.outline(image[top:bottom, left:right], instance, (left, top))
    scale = CROP_PX / max(drawn.shape[:2])
    size = max(1, round(drawn.shape[1] * scale)), max(1, round(drawn.shape[0] * scale))
    return np.asarray(PilImage.fromarray(drawn).resize(size))


def _data_uri(image: Image) -> str:
    packed = io.BytesIO()
    PilImage.fromarray(image).save(packed, format="JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
