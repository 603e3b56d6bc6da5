"""Instances drawn on pictures, with supervision."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv

from annotate.data import geometry
from annotate.data.types import ClassList, Image, Instance, Rle
from annotate.report.label_font import font_for

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
