"""Instances drawn on pictures, with supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import ImageFont

from annotate.data.types import ClassList, Image, Instance
from annotate.report.colours import class_colours as class_colours
from annotate.report.colours import spread_hue, text_on
from annotate.report.label_font import font_for, shortened
from annotate.report.label_layout import LabelLayout, leader

TRACK_COLOURS: Final = 233  # after so many tracks, colours come again
OPACITY: Final = 0.25  # of what fills a mask: what is below must be seen
CROWDED: Final = 0.25  # of a picture; labels that would cover more are written smaller
LEAST_FONT_PX: Final = 9


class Overlay:
    """Draws instances: stills in the colours of their classes, videos in one colour per track.

    Lines lie around an object and not on it; nothing at all is drawn on a small one.
    """

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        colours = class_colours(classes) + [spread_hue(n) for n in range(TRACK_COLOURS)]
        self._palette = sv.ColorPalette([sv.Color.from_hex(c) for c in colours])
        self._text_palette = sv.ColorPalette([sv.Color.from_hex(text_on(c)) for c in colours])
        self._font = str(font_for([*self._names, "#<."]))
        self._fill = sv.MaskAnnotator(color=self._palette, opacity=OPACITY)

    def draw(
        self,
        image: Image,
        instances: Sequence[Instance],
        *,
        below: Mapping[str, float] | None = None,
        layout: LabelLayout | None = None,
    ) -> Image:
        """A copy of the image (RGB) with the instances on it.

        Args:
            image: at the size of the instances' frame, or at another one to draw them at.
            instances: what is drawn.
            below: by instance id, the threshold that a candidate does not reach; it is dashed.
            layout: of the pictures before, where this is the next one of a video.
        """
        if not instances:
            return image.copy()
        seen = self._seen(image, instances, below or {})
        canvas = np.ascontiguousarray(image[..., ::-1])  # supervision draws on BGR
        filled = ~(seen.small | seen.dashed)
        if filled.any():
            shown = sv.Detections(xyxy=seen.boxes[filled], mask=seen.masks[filled])
            canvas = self._fill.annotate(canvas, shown, custom_color_lookup=seen.colours[filled])
        labels = _Labels(self._font, seen, layout or LabelLayout())
        ink = _Ink(seen)
        ink.outline_masks()
        ink.draw_boxes()
        ink.draw_leaders(labels.boxes)
        ink.put_on(canvas, self._palette)
        canvas = labels.write_on(canvas, self._palette, self._text_palette)
        return np.ascontiguousarray(canvas[..., ::-1])

    def tile(
        self,
        image: Image,
        instances: Sequence[Instance],
        size_wh: tuple[int, int],
        *,
        below: Mapping[str, float] | None = None,
    ) -> Image:
        """The image with its instances, at the size that fits; drawn there, so that labels read."""
        h, w = image.shape[:2]
        scale = min(size_wh[0] / w, size_wh[1] / h)
        size = max(1, round(w * scale)), max(1, round(h * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
        return self.draw(small, instances, below=below)

    def outline(self, crop: Image, instance: Instance, corner_xy: tuple[int, int]) -> Image:
        """A part of an image, whose corner is given, with the outline of one instance on it."""
        (left, top), (h, w) = corner_xy, crop.shape[:2]
        mask = instance.mask.decode()[top : top + h, left : left + w]
        canvas = crop.copy()
        line = max(1, round(max(h, w) / 120))
        canvas[_ring(mask, line)] = self._palette.by_idx(self._colour(instance)).as_rgb()
        return canvas

    def _seen(
        self, image: Image, instances: Sequence[Instance], below: Mapping[str, float]
    ) -> _Seen:
        """The instances in the pixels of the image, which may be larger or smaller than theirs."""
        h, w = image.shape[:2]
        frame_hw = instances[0].mask.size_hw
        boxes = np.array([i.box_xyxy for i in instances], np.float64)
        masks = sv.CompactMask.from_coco_rle(
            [{"size": frame_hw, "counts": i.mask.counts} for i in instances],
            np.hstack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:]) - 1]),
            frame_hw,
        ).resize((h, w))
        boxes *= np.tile([w / frame_hw[1], h / frame_hw[0]], 2)
        boxes = np.hstack([np.floor(boxes[:, :2] + 0.01), np.ceil(boxes[:, 2:] - 0.01)])
        return _Seen(
            size_hw=(h, w),
            boxes=np.clip(boxes, 0, [w, h, w, h]).astype(np.int64),
            masks=masks,
            colours=np.array([self._colour(i) for i in instances]),
            labels=[self._label(i, below.get(i.instance_id)) for i in instances],
            tracks=[i.track_id for i in instances],
            dashed=np.array([i.instance_id in below for i in instances]),
        )

    def _colour(self, instance: Instance) -> int:
        """Its place in the palette: the classes, then the tracks."""
        if instance.track_id:
            return len(self._names) + instance.track_id % TRACK_COLOURS
        return instance.class_id

    def _label(self, instance: Instance, limit: float | None) -> str:
        track = f" #{instance.track_id}" if instance.track_id else ""
        name = f"{self._names[instance.class_id]}{track}"
        if limit is None:
            return f"{name} {instance.score:.2f}"
        digits = next((d for d in (2, 3) if round(instance.score, d) < round(limit, d)), 4)
        return f"{name} {instance.score:.{digits}f} < {limit:.{digits}f}"


def line_px(size_hw: tuple[int, int]) -> int:
    """The width of lines: 2 px at 720p, 1 at 360p, 4 at 2160p."""
    return max(1, round(float(2 * (min(size_hw) / 720) ** 0.65)))


def font_px(size_hw: tuple[int, int]) -> int:
    """The size of labels: 16 px at 720p, and never so small that it cannot be read."""
    return max(12, round(float(16 * (min(size_hw) / 720) ** 0.75)))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is drawn, in the pixels of the picture; row i of every field is one instance."""

    size_hw: tuple[int, int]
    boxes: npt.NDArray[np.int64]  # (n, 4) xyxy, half-open
    masks: sv.CompactMask
    colours: npt.NDArray[np.int64]  # (n,), places in the palette
    labels: Sequence[str]
    tracks: Sequence[int]
    dashed: npt.NDArray[np.bool_]  # (n,)

    @property
    def small(self) -> npt.NDArray[np.bool_]:
        """Which objects lines and labels would hide (n,)."""
        sides = np.max(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        return np.asarray(sides < 2 * font_px(self.size_hw))

    @property
    def framed(self) -> npt.NDArray[np.int64]:
        """The outer edges of the lines around the objects (n, 4), inside the picture."""
        line = line_px(self.size_hw)
        margins = np.where(self.small, 2 * line + 1, line)[:, None] * [-1, -1, 1, 1]
        h, w = self.size_hw
        return np.asarray(np.clip(self.boxes + margins, 0, [w, h, w, h]), np.int64)

    def mask(self, n: int) -> tuple[npt.NDArray[np.bool_], int, int]:
        """A mask around its object, with the left and top of where that is."""
        left, top = self.masks.offsets[n].tolist()
        return self.masks.crop(n), left, top

    def largest_first(self) -> list[int]:
        areas = np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        return [int(n) for n in np.argsort(-areas, kind="stable")]


class _Ink:
    """Lines: for each pixel the instance whose colour it takes, put on the picture at once."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._line = line_px(seen.size_hw)
        self._of = np.zeros(seen.size_hw, np.int32)  # 1 + instance; 0: nothing

    def outline_masks(self) -> None:
        """A line around each mask and in its holes, on which the mask of no smaller one lies."""
        for n in self._seen.largest_first():
            if self._seen.small[n] or self._seen.dashed[n]:
                continue
            mask, left, top = self._seen.mask(n)
            pad = min(self._line, left), min(self._line, top)  # so much of the picture is around
            right, bottom = left + mask.shape[1] + self._line, top + mask.shape[0] + self._line
            around = self._of[top - pad[1] : bottom, left - pad[0] : right]
            h, w = around.shape
            padded = np.zeros((h, w), bool)
            padded[pad[1] : pad[1] + mask.shape[0], pad[0] : pad[0] + mask.shape[1]] = mask
            around[padded] = 0
            around[_ring(padded, self._line)] = n + 1

    def draw_boxes(self) -> None:
        line = self._line
        for n in self._seen.largest_first():
            x0, y0, x1, y1 = self._seen.framed[n].tolist()
            framed = self._of[y0:y1, x0:x1]
            edges = np.ones(framed.shape, bool)
            edges[line:-line, line:-line] = False
            if self._seen.dashed[n]:
                along = np.add.outer(np.arange(y1 - y0), np.arange(x1 - x0))
                edges &= along // (4 * line) % 2 == 0
            framed[edges] = n + 1

    def draw_leaders(self, labels: npt.NDArray[np.int64]) -> None:
        """A thin line from each label that is away from its object."""
        for n, (label, box) in enumerate(zip(labels.tolist(), self._seen.framed, strict=True)):
            if (line := leader(label, box.tolist())) is not None:
                cv2.line(self._of, line[:2], line[2:], n + 1, max(1, self._line // 2))

    def put_on(self, canvas: Image, palette: sv.ColorPalette) -> None:
        """Colour the lines, except where a small object is."""
        for n in np.flatnonzero(self._seen.small).tolist():
            mask, left, top = self._seen.mask(n)
            self._of[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = 0
        colours = np.array([palette.by_idx(c).as_bgr() for c in self._seen.colours], np.uint8)
        drawn = self._of > 0
        canvas[drawn] = colours[self._of[drawn] - 1]


class _Labels:
    """Labels, each in the place that was found for it."""

    def __init__(self, font: str, seen: _Seen, layout: LabelLayout) -> None:
        self._font, self._seen = font, seen
        px = min(font_px(seen.size_hw), layout.largest_font_px)
        self._size_for(px)
        if (covered := self._sizes.prod(axis=1).sum() / np.prod(seen.size_hw)) > CROWDED:
            px = min(px, max(LEAST_FONT_PX, round(px * (CROWDED / covered) ** 0.5)))
            layout.largest_font_px = px
            self._size_for(px)
        self.boxes = layout.place(seen.framed, seen.small, self._sizes, seen.size_hw, seen.tracks)

    def _size_for(self, px: int) -> None:
        h, w = self._seen.size_hw
        self._px, self._padding = px, max(1, px // 5)
        font = _font(self._font, px)
        room = w - 2 * self._padding - 1
        self._texts = [shortened(t, lambda s: font.getlength(s) <= room) for t in self._seen.labels]
        # As large as supervision draws them, whose boxes include their last row and column.
        x0, y0, x1, y1 = np.array([font.getbbox(text) for text in self._texts]).T
        sizes = np.stack([x1 - x0, y1 - y0], axis=1) + 2 * self._padding
        self._sizes = np.minimum(sizes.astype(np.int64) // 2 * 2 + 1, [w, h])

    def write_on(
        self, canvas: Image, palette: sv.ColorPalette, text_palette: sv.ColorPalette
    ) -> Image:
        writer = sv.RichLabelAnnotator(
            color=palette,
            text_color=text_palette,
            font_path=self._font,
            font_size=self._px,
            text_padding=self._padding,
            text_position=sv.Position.CENTER,
        )
        where = sv.Detections(xyxy=self.boxes.astype(np.float64))
        written: Image = writer.annotate(
            canvas, where, labels=self._texts, custom_color_lookup=self._seen.colours
        )
        return written


@lru_cache(maxsize=32)
def _font(path: str, px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, px)


def _ring(mask: npt.NDArray[np.bool_], line: int) -> npt.NDArray[np.bool_]:
    """The pixels that lie around a mask, so wide."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1))
    grown = cv2.dilate(mask.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(grown.astype(bool) & ~mask)
