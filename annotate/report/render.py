"""A run drawn: an annotated video or picture for each item."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, groupby, tee
from pathlib import Path
from typing import Any

from PIL import Image as PilImage

from annotate.data.names import plan_names
from annotate.data.selection import Selection, kept_instances
from annotate.data.types import ClassList, Frame, FrameRecord, Image, Item
from annotate.decode.download import at_hand
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import MediaError
from annotate.record.run_folder import Run
from annotate.report.label_layout import LabelLayout
from annotate.report.overlay import Overlay
from annotate.report.video_writer import VideoWriter
from annotate.store import atomic

log = logging.getLogger(__name__)


def render_run(run: Run, *, threshold: float) -> None:
    """Draw the run into `media/`: an mp4 per video at its real times, a JPEG per still.

    What is shown is what an export at this threshold holds; of a video, the frames that were
    annotated. Pictures are decoded once more, one at a time; one that is gone is passed over with a
    warning. Raises StorageError when the disk refuses.
    """
    names = _media_names(run)
    overlay = Overlay(run.classes)
    selection = Selection(run.decisions(), run.classes)
    for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
        shown = _kept(selection, rows, run.classes, threshold)
        draw = _render_video if media == "video" else _render_still
        try:
            with at_hand(run.source(item, media)) as source:
                draw(source, shown, run.path / "media" / names.get(item, ""), overlay)
        except MediaError as error:
            log.warning("%s: not rendered: %s", item, error)


def _render_still(
    source: Item, records: Iterator[FrameRecord], path: Path, overlay: Overlay
) -> None:
    for image, record in decoded(source, records):
        save(overlay.draw(image, record.instances), path, format="JPEG", quality=90)


def _render_video(
    source: Item, records: Iterator[FrameRecord], path: Path, overlay: Overlay
) -> None:
    """What comes before damage is kept: it was annotated as well."""
    pictures = decoded(source, records)
    if (first := next(pictures, None)) is None:
        return
    fps = open_video(source).fps
    layout = LabelLayout()
    with VideoWriter(path, size_wh=(first[1].width, first[1].height), fps=fps) as writer:
        try:
            for image, record in chain([first], pictures):
                writer.add(overlay.draw(image, record.instances, layout=layout), record.time_s)
        except MediaError as error:
            log.warning("%s: rendered up to there: %s", source.name, error)


def decoded(source: Item, records: Iterator[FrameRecord]) -> Iterator[tuple[Image, FrameRecord]]:
    """Each record with its picture. Raises MediaError when it is gone, or not the one of then."""
    pairs: Iterator[tuple[Image, FrameRecord]]
    if source.media == "image":
        pairs = ((read_image(source.path, depth=source.depth), record) for record in records)
    else:
        due, waiting = tee(records)  # both go in step, so that one record is held
        frames = _from_first(source, due)
        pairs = zip((frame.image for frame in frames), waiting, strict=False)
    for image, record in pairs:
        if image.shape[:2] != (record.height, record.width):
            raise MediaError("the picture has another size than when it was annotated")
        yield image, record


def _from_first(source: Item, records: Iterator[FrameRecord]) -> Iterator[Frame]:
    """The frames of records; a video without records is not opened."""
    if (first := next(records, None)) is not None:
        indices = (record.frame_index for record in chain([first], records))
        yield from open_video(source).frames_at(indices)


def _kept(
    selection: Selection, rows: Iterable[FrameRecord], classes: ClassList, threshold: float
) -> Iterator[FrameRecord]:
    """The records that have a picture, with the instances that count."""
    for record in rows:
        if record.status == "ok" and (taken := selection.take(record)) is not None:
            counting = kept_instances(taken, classes, threshold)
            yield replace(taken, instances=tuple(counting))


def _media_names(run: Run) -> dict[str, str]:
    """Each item's file below `media/`: its own name where possible, with one more suffix."""
    files = {
        item: item + (".mp4" if media == "video" else ".jpg")
        for item, media in run.items_with_pictures()
    }
    names = plan_names(files.values(), labelled=False, suffix_for=str)
    return {item: names[file] for item, file in files.items()}


def save(image: Image, path: Path, **encoding: Any) -> None:
    """Write a picture whole or not at all."""
    with atomic.writing(path, "the picture") as written:
        PilImage.fromarray(image).save(written, **encoding)
