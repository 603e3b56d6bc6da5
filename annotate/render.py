"""Pictures for people: frames with masks, boxes and labels, drawn with supervision."""

from __future__ import annotations

import colorsys
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby, tee
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.dataset as pads
import supervision as sv
from PIL import Image as PilImage

from annotate import durable, geometry
from annotate.errors import MediaError
from annotate.label_font import font_for
from annotate.media import read_image
from annotate.run_folder import Run
from annotate.spool import at_hand
from annotate.types import ClassList, Frame, FrameRecord, Image, Instance, Item, Rle
from annotate.video import VideoWriter, open_video
from exporters.names import plan_names
from exporters.options import Tally
from exporters.selection import Selection, items_with_pictures, kept_instances

log = logging.getLogger(__name__)

TILE_WH = (480, 360)  # px
COLUMNS = 4
FRAMES_PER_VIDEO = 3  # on a contact sheet
TRACK_COLOURS = 233  # after so many tracks, colours come again
SCALE_PX = (
    540  # of the shorter side, for which lines are 1 px wide and text is as small as it reads
)


class Overlay:
    """Draws instances: stills in the colours of their classes, videos in one colour per track."""

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        colours = class_colours(classes) + [_spread_hue(n) for n in range(TRACK_COLOURS)]
        self._palette = sv.ColorPalette([sv.Color.from_hex(c) for c in colours])
        self._font = font_for(self._names)
        self._brushes: dict[int, _Brushes] = {}

    def draw(self, image: Image, instances: Sequence[Instance]) -> Image:
        """A copy of the image (RGB) with the instances on it."""
        if not instances:
            return image.copy()
        shown = sv.Detections(
            xyxy=np.array([i.box_xyxy for i in instances], np.float32),
            mask=geometry.decode_masks([i.mask.counts for i in instances], image.shape[:2]),
            class_id=np.array([i.class_id for i in instances]),
        )
        colours = np.array([self._colour(i) for i in instances])
        labels = [self._label(i) for i in instances]
        scale = max(1, round(min(image.shape[:2]) / SCALE_PX))
        if scale not in self._brushes:
            self._brushes[scale] = _Brushes(self._palette, scale, self._font)
        brushes = self._brushes[scale]
        canvas = np.ascontiguousarray(image[..., ::-1])  # supervision draws on BGR
        canvas = brushes.masks.annotate(canvas, shown, custom_color_lookup=colours)
        canvas = brushes.boxes.annotate(canvas, shown, custom_color_lookup=colours)
        # Labels that make room for each other would jump about in a video.
        write = brushes.fixed_labels if instances[0].track_id else brushes.labels
        canvas = write.annotate(canvas, shown, labels=labels, custom_color_lookup=colours)
        return np.ascontiguousarray(canvas[..., ::-1])

    def tile(self, image: Image, instances: Sequence[Instance], size_wh: tuple[int, int]) -> Image:
        """The image with its instances, at the size that fits; drawn there, so that labels read."""
        small, scale = _fit(image, size_wh)
        return self.draw(small, [_scaled(i, scale, small) for i in instances])

    def outline(self, crop: Image, instance: Instance, corner_xy: tuple[int, int]) -> Image:
        """A part of an image, whose corner is given, with the outline of one instance on it."""
        (left, top), (h, w) = corner_xy, crop.shape[:2]
        mask = instance.mask.decode()[top : top + h, left : left + w]
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        colour = self._palette.by_idx(self._colour(instance)).as_rgb()
        canvas = crop.copy()
        width = max(1, round(max(h, w) / 120))
        return np.asarray(cv2.drawContours(canvas, contours, -1, colour, width))

    def _colour(self, instance: Instance) -> int:
        """Its place in the palette: the classes, then the tracks."""
        if instance.track_id:
            return len(self._names) + instance.track_id % TRACK_COLOURS
        return instance.class_id

    def _label(self, instance: Instance) -> str:
        track = f" #{instance.track_id}" if instance.track_id else ""
        return f"{self._names[instance.class_id]}{track} {instance.score:.2f}"


class _Brushes:
    """supervision's annotators for pictures of one scale."""

    def __init__(self, palette: sv.ColorPalette, scale: int, font: Path | None) -> None:
        text: dict[str, Any] = {
            "color": palette,
            "text_color": sv.Color.BLACK,
            "text_padding": 3 * scale,
        }
        labels: Any = sv.LabelAnnotator if font is None else sv.RichLabelAnnotator
        if font is None:
            text |= {"text_scale": 0.4 * scale, "text_thickness": scale}
        else:
            text |= {"font_path": str(font), "font_size": 12 * scale}
        self.masks = sv.MaskAnnotator(color=palette, opacity=0.45)
        self.boxes = sv.BoxAnnotator(color=palette, thickness=scale)
        self.labels = labels(**text, smart_position=True)
        self.fixed_labels = labels(**text)


def class_colours(classes: ClassList) -> list[str]:
    """`#rrggbb` per class: the user's, else hues spread by the golden ratio."""
    colours = []
    for index, spec in enumerate(classes.classes):
        colours.append(spec.colour or _spread_hue(index))
    return colours


def _spread_hue(index: int) -> str:
    rgb = colorsys.hsv_to_rgb((0.08 + index * 0.618034) % 1, 0.6 + 0.25 * (index % 2), 1.0)
    return "#" + "".join(f"{round(v * 255):02x}" for v in rgb)


def render_run(run: Run, *, threshold: float) -> None:
    """Draw the run into `media/`: an mp4 per video at its real times, a JPEG per still.

    What is shown is what an export at this threshold holds; of a video, the frames that were
    annotated. Pictures are decoded once more, one at a time; one that is gone is passed over with a
    warning. Raises StorageError when the disk refuses.
    """
    names = _media_names(run)
    overlay = Overlay(run.classes)
    selection = Selection(run, "all", Tally())
    for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
        shown = _kept(selection, rows, run.classes, threshold)
        draw = _render_video if media == "video" else _render_still
        try:
            with at_hand(run.source(item, media)) as source:
                draw(source, shown, run.path / "media" / names.get(item, ""), overlay)
        except MediaError as error:
            log.warning("%s: not rendered: %s", item, error)


def frames_worth_seeing(run: Run, *, threshold: float) -> Iterator[tuple[Image, FrameRecord]]:
    """Pictures with something on them, for `write_contact_sheet`: stills, and a few of each video.

    Those of a video are spread evenly over it. What is gone is passed over with a warning.
    """
    selection = Selection(run, "all", Tally())
    for (item, media), rows in groupby(run.frames(), lambda r: (r.item, r.media)):
        kept = _kept(selection, rows, run.classes, threshold)
        if media == "video":
            count = run.table().count_rows(filter=pads.field("item") == item)
            kept = _spread(kept, max(1, count // FRAMES_PER_VIDEO))
        else:
            kept = (record for record in kept if record.instances)
        try:
            with at_hand(run.source(item, media)) as source:
                yield from decoded(source, kept)
        except MediaError as error:
            log.warning("%s: not on the contact sheet: %s", item, error)


def _render_still(
    source: Item, records: Iterator[FrameRecord], path: Path, overlay: Overlay
) -> None:
    for image, record in decoded(source, records):
        _save(overlay.draw(image, record.instances), path, format="JPEG", quality=90)


def _render_video(
    source: Item, records: Iterator[FrameRecord], path: Path, overlay: Overlay
) -> None:
    """What comes before damage is kept: it was annotated as well."""
    pictures = decoded(source, records)
    if (first := next(pictures, None)) is None:
        return
    fps = open_video(source).fps
    with VideoWriter(path, size_wh=(first[1].width, first[1].height), fps=fps) as writer:
        try:
            for image, record in chain([first], pictures):
                writer.add(overlay.draw(image, record.instances), record.time_s)
        except MediaError as error:
            log.warning("%s: rendered up to there: %s", source.name, error)


def decoded(source: Item, records: Iterator[FrameRecord]) -> Iterator[tuple[Image, FrameRecord]]:
    """Each record with its picture. Raises MediaError when it is gone, or not the one of then."""
    pairs: Iterator[tuple[Image, FrameRecord]]
    if source.media == "image":
        pairs = ((read_image(source.path), record) for record in records)
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
            counting = kept_instances(taken, classes, threshold, Tally())
            yield replace(taken, instances=tuple(counting))


def _spread(records: Iterable[FrameRecord], step: int) -> Iterator[FrameRecord]:
    """Records with instances, from the middle of the first step on and a step apart or more."""
    due = step // 2
    for number, record in enumerate(records):
        if number >= due and record.instances:
            yield record
            due += step


def _media_names(run: Run) -> dict[str, str]:
    """Each item's file below `media/`: its own name where possible, with one more suffix."""
    files = {
        item: item + (".mp4" if media == "video" else ".jpg")
        for item, media in items_with_pictures(run)
    }
    names = plan_names(files.values(), labelled=False, suffix_for=str)
    return {item: names[file] for item, file in files.items()}


def write_contact_sheet(
    path: Path, frames: Iterable[tuple[Image, FrameRecord]], classes: ClassList, *, tiles: int
) -> int:
    """Draw the first `tiles` frames into one PNG; returns how many there were."""
    overlay = Overlay(classes)
    drawn = []
    for image, record in frames:
        drawn.append(_letterbox(overlay.tile(image, record.instances, TILE_WH)))
        if len(drawn) == tiles:
            break
    if not drawn:
        return 0
    columns = min(COLUMNS, len(drawn))
    blank = np.full_like(drawn[0], 24)
    rows = [
        np.hstack([*drawn[i : i + columns], *[blank] * (columns - len(drawn[i : i + columns]))])
        for i in range(0, len(drawn), columns)
    ]
    _save(np.vstack(rows), path, format="PNG")
    return len(drawn)


def _save(image: Image, path: Path, **encoding: Any) -> None:
    """Write a picture whole or not at all."""
    with durable.writing(path, "the picture") as written:
        PilImage.fromarray(image).save(written, **encoding)


def _fit(image: Image, size_wh: tuple[int, int]) -> tuple[Image, float]:
    h, w = image.shape[:2]
    scale = min(size_wh[0] / w, size_wh[1] / h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8), scale


def _scaled(instance: Instance, scale: float, tile: Image) -> Instance:
    """The instance at the size of its tile, so that labels stay readable on large pictures."""
    h, w = tile.shape[:2]
    mask = cv2.resize(
        instance.mask.decode().view(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST
    ).view(bool)
    x0, y0, x1, y1 = (v * scale for v in instance.box_xyxy)
    counts = geometry.encode_masks(mask[None])[0]
    return replace(instance, box_xyxy=(x0, y0, x1, y1), mask=Rle(counts, (h, w)))


def _letterbox(image: Image) -> Image:
    w, h = TILE_WH
    canvas = np.full((h, w, 3), 24, np.uint8)
    y, x = (h - image.shape[0]) // 2, (w - image.shape[1]) // 2
    canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
    return canvas
