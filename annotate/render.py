"""Pictures for people: frames with masks, boxes and labels, drawn with supervision."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from PIL import Image as PilImage

from annotate import geometry
from annotate.types import ClassList, FrameRecord, Image, Instance, Rle

TILE_WH = (480, 360)  # px
COLUMNS = 4


class Overlay:
    """Draws instances in the colours of their classes."""

    def __init__(self, classes: ClassList) -> None:
        colours = [sv.Color.from_hex(c) for c in class_colours(classes)]
        palette = sv.ColorPalette(colours)
        by_class = sv.ColorLookup.CLASS
        self._names = classes.names
        self._masks = sv.MaskAnnotator(color=palette, color_lookup=by_class, opacity=0.45)
        self._boxes = sv.BoxAnnotator(color=palette, color_lookup=by_class, thickness=1)
        self._labels = sv.LabelAnnotator(
            color=palette,
            color_lookup=by_class,
            text_color=sv.Color.BLACK,
            text_scale=0.4,
            text_padding=3,
            smart_position=True,
        )

    def draw(self, image: Image, instances: Sequence[Instance]) -> Image:
        """A copy of the image (RGB) with the instances on it."""
        if not instances:
            return image.copy()
        shown = sv.Detections(
            xyxy=np.array([i.box_xyxy for i in instances], np.float32),
            mask=geometry.decode_masks([i.mask.counts for i in instances], image.shape[:2]),
            class_id=np.array([i.class_id for i in instances]),
        )
        labels = [f"{self._names[i.class_id]} {i.score:.2f}" for i in instances]
        canvas = np.ascontiguousarray(image[..., ::-1])  # supervision draws on BGR
        canvas = self._masks.annotate(canvas, shown)
        canvas = self._boxes.annotate(canvas, shown)
        canvas = self._labels.annotate(canvas, shown, labels=labels)
        return np.ascontiguousarray(canvas[..., ::-1])


def class_colours(classes: ClassList) -> list[str]:
    """`#rrggbb` per class: the user's, else hues spread by the golden ratio."""
    colours = []
    for index, spec in enumerate(classes.classes):
        rgb = colorsys.hsv_to_rgb((0.08 + index * 0.618034) % 1, 0.6 + 0.25 * (index % 2), 1.0)
        colours.append(spec.colour or "#" + "".join(f"{round(v * 255):02x}" for v in rgb))
    return colours


def write_contact_sheet(
    path: Path, frames: Iterable[tuple[Image, FrameRecord]], classes: ClassList, *, tiles: int
) -> int:
    """Draw the first `tiles` frames into one PNG; returns how many there were."""
    overlay = Overlay(classes)
    drawn = []
    for image, record in frames:
        tile, scale = _fit(image)
        drawn.append(
            _letterbox(overlay.draw(tile, [_scaled(i, scale, tile) for i in record.instances]))
        )
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
    PilImage.fromarray(np.vstack(rows)).save(path)
    return len(drawn)


def _fit(image: Image) -> tuple[Image, float]:
    h, w = image.shape[:2]
    scale = min(TILE_WH[0] / w, TILE_WH[1] / h)
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
