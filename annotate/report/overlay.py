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
from PIL import Image as PilImage
from PIL import ImageFont

from annotate.data import geometry
from annotate.data.types import ClassList, Image, Instance
from annotate.report.colours import class_colours as class_colours
from annotate.report.colours import spread_hue, text_on
from annotate.report.label_font import font_for, shortened
from annotate.report.label_layout import LabelLayout, leader

TRACK_COLOURS: Final = 233  # after so many tracks, colours come again
OPACITY: Final = 0.25  # of what fills a mask: what is below must be seen
CROWDED: Final = 0.25  # of a picture; labels that would cover more are written smaller
LEAST_FONT_PX: Final = 9

Mask = npt.NDArray[np.bool_]


def track_colour(track_id: int) -> str:
    """As `#rrggbb`, the colour that a track is drawn in."""
    return spread_hue(track_id % TRACK_COLOURS)


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
        labels = _Labels(self._font, seen, layout or LabelLayout())
        colours = np.array([self._palette.by_idx(c).as_rgb() for c in seen.colours], np.uint8)
        canvas = _painted(image, _fill(seen), colours, OPACITY)
        canvas = _painted(canvas, _lines(seen, labels.boxes), colours)
        return labels.written_on(canvas, self._palette, self._text_palette)

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
        shown = [_scaled_mask(instance, (h, w)) for instance in instances]
        return _Seen(
            size_hw=(h, w),
            boxes=np.array([box for box, _ in shown], np.int64),
            masks=[mask for _, mask in shown],
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
    boxes: npt.NDArray[np.int64]  # (n, 4) xyxy, half-open, inside the picture
    masks: Sequence[Mask]  # each as large as its box
    colours: npt.NDArray[np.int64]  # (n,), places in the palette
    labels: Sequence[str]
    tracks: Sequence[int]
    dashed: npt.NDArray[np.bool_]  # (n,)

    @property
    def sides(self) -> npt.NDArray[np.int64]:
        """The longer side of each (n,)."""
        return np.asarray(np.max(self.boxes[:, 2:] - self.boxes[:, :2], axis=1))

    @property
    def small(self) -> npt.NDArray[np.bool_]:
        """Which objects lines and labels would hide (n,)."""
        return np.asarray(self.sides < 1.5 * font_px(self.size_hw))

    @property
    def framed(self) -> npt.NDArray[np.int64]:
        """The outer edges of the lines around the objects (n, 4), inside the picture."""
        line = line_px(self.size_hw)
        margins = np.where(self.small, 2 * line + 1, line)[:, None] * [-1, -1, 1, 1]
        h, w = self.size_hw
        return np.asarray(np.clip(self.boxes + margins, 0, [w, h, w, h]), np.int64)

    def largest_first(self) -> list[int]:
        areas = np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        return [int(n) for n in np.argsort(-areas, kind="stable")]


def _scaled_mask(instance: Instance, size_hw: tuple[int, int]) -> tuple[list[int], Mask]:
    """An instance's box and the mask in it, where its frame has this size."""
    frame_hw = instance.mask.size_hw
    limits = np.array([frame_hw[1], frame_hw[0]] * 2)
    box = np.array(instance.box_xyxy, np.float64)
    box = np.clip([*np.floor(box[:2]), *np.ceil(box[2:])], 0, limits).astype(np.int64)
    mask = geometry.decode_crop(instance.mask.counts, frame_hw, box.tolist())
    if frame_hw == size_hw:
        return box.tolist(), mask
    at = box * np.tile([size_hw[1] / frame_hw[1], size_hw[0] / frame_hw[0]], 2)
    x0, y0 = (int(v) for v in np.floor(at[:2] + 0.01))
    x1, y1 = (max(int(v), low + 1) for v, low in zip(np.ceil(at[2:] - 0.01), (x0, y0), strict=True))
    if not mask.size:
        return [x0, y0, x0, y0], mask
    method = cv2.INTER_AREA if size_hw[0] < frame_hw[0] else cv2.INTER_LINEAR
    share = cv2.resize(mask.astype(np.float32), (x1 - x0, y1 - y0), interpolation=method)
    return [x0, y0, x1, y1], np.asarray(share >= 0.5)


def _fill(seen: _Seen) -> npt.NDArray[np.int32]:
    """For each pixel 1 + the smallest instance whose mask has it; 0: none.

    What is small is left as it is, and so is what is only a candidate.
    """
    instance_of = np.zeros(seen.size_hw, np.int32)
    for n in seen.largest_first():
        if not (seen.small[n] or seen.dashed[n]):
            x0, y0, x1, y1 = seen.boxes[n]
            instance_of[y0:y1, x0:x1][seen.masks[n]] = n + 1
    return instance_of


def _lines(seen: _Seen, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """For each pixel 1 + the instance whose line lies there; none lies on a small object."""
    line, instance_of = line_px(seen.size_hw), np.zeros(seen.size_hw, np.int32)
    order = seen.largest_first()
    for n in order:
        if seen.sides[n] >= font_px(seen.size_hw) and not seen.dashed[n]:
            _outline(instance_of, seen.boxes[n], seen.masks[n], line, n + 1)
    for n in order:
        x0, y0, x1, y1 = seen.framed[n]
        edges = np.ones((y1 - y0, x1 - x0), bool)
        edges[line:-line, line:-line] = False
        if seen.dashed[n]:
            along = np.add.outer(np.arange(y1 - y0), np.arange(x1 - x0))
            edges &= along // (4 * line) % 2 == 0
        instance_of[y0:y1, x0:x1][edges] = n + 1
    for n, (label, box) in enumerate(zip(labels.tolist(), seen.framed.tolist(), strict=True)):
        if (way := leader(label, box)) is not None:
            cv2.line(instance_of, way[:2], way[2:], n + 1, max(1, line // 2))
    for n in (n for n in order if seen.small[n]):
        x0, y0, x1, y1 = seen.boxes[n]
        instance_of[y0:y1, x0:x1][seen.masks[n]] = 0
    return instance_of


def _outline(
    instance_of: npt.NDArray[np.int32],
    box: npt.NDArray[np.int64],
    mask: Mask,
    line: int,
    value: int,
) -> None:
    """A line around a mask and in its holes, over what lies there, and nothing on the mask."""
    x0, y0 = (max(0, int(v) - line) for v in box[:2])
    around = instance_of[y0 : box[3] + line, x0 : box[2] + line]
    padded = np.zeros(around.shape, bool)
    padded[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0] = mask
    around[padded] = 0
    around[_ring(padded, line)] = value


def _painted(
    image: Image,
    instance_of: npt.NDArray[np.int32],
    colours: npt.NDArray[np.uint8],
    opacity: float = 1.0,
) -> Image:
    """The image with the colours (n, 3) of the instances where they are."""
    canvas = image.copy()
    there = instance_of > 0
    canvas[there] = colours[instance_of[there] - 1]
    if opacity < 1:
        canvas = np.asarray(cv2.addWeighted(canvas, opacity, image, 1 - opacity, 0), np.uint8)
    return canvas


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

    def written_on(
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
        written = writer.annotate(
            PilImage.fromarray(canvas),
            where,
            labels=self._texts,
            custom_color_lookup=self._seen.colours,
        )
        return np.array(written, np.uint8)


@lru_cache(maxsize=32)
def _font(path: str, px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, px)


def _ring(mask: Mask, line: int) -> Mask:
    """The pixels that lie around a mask, so wide."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1))
    grown = cv2.dilate(mask.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(grown.astype(bool) & ~mask)
