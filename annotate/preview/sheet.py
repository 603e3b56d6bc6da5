"""`preview.png`: the pictures with their boxes, then crops of each class from sure to unsure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from annotate.data import geometry
from annotate.data.types import ClassList, Image, Instance, Rle
from annotate.preview.look import Look, Phrases
from annotate.report.contact_sheet import TILE_WH, Tile, arranged
from annotate.report.label_font import font_for
from annotate.report.overlay import Overlay
from annotate.report.render import save

CROPS: Final = (0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)  # scores that crops are chosen near
CLASSES: Final = 40  # that crops are shown of
MOST: Final = 60  # boxes drawn on one picture, the best
AROUND: Final = 0.25  # of the longer side of a box, shown around it
_CROP_WH: Final = TILE_WH[0] // 4, TILE_WH[1] // 2
_TEXT_PX: Final = 13


class Sheet:
    """Takes pictures one by one and holds tiles of them; `write` puts them on one sheet."""

    def __init__(self, classes: ClassList, phrases: Phrases, threshold: float) -> None:
        self._classes, self._phrases = classes, phrases
        self._limits = classes.thresholds(threshold)
        self._overlay = Overlay(classes)
        self._tiles: list[Tile] = []
        # Of each class and score: how far off the best one so far is, its score and its crop.
        self._crops: dict[tuple[int, float], tuple[float, float, Image]] = {}

    def add(self, look: Look) -> None:
        """One more picture."""
        rows = [int(row) for row in np.flatnonzero(look.best_of_class)]
        drawn = [self._instance(look, row) for row in rows[:MOST]]
        below = {
            i.instance_id: self._limits[i.class_id]
            for i in drawn
            if i.score < self._limits[i.class_id]
        }
        drawn = [i for i in drawn if i.score >= min(CROPS)]
        frame = look.frame
        tile = self._overlay.tile(frame.image, drawn, TILE_WH, below=below)
        moment = f"  frame {frame.index}" if frame.item.media == "video" else ""
        sure = any(i.instance_id not in below for i in drawn)
        self._tiles.append(Tile(tile, frame.item.name, moment, not sure))
        for row in rows:
            score, class_id = float(look.scores[row]), int(look.class_ids[row])
            near = min(CROPS, key=lambda step: abs(step - score))
            off = abs(near - score)
            if off < self._crops.get((class_id, near), (np.inf,))[0]:
                self._crops[class_id, near] = (off, score, _crop(frame.image, look.boxes_xyxy[row]))

    def write(self, path: Path, headline: str) -> int:
        """One PNG; how many classes have crops on it. Raises StorageError."""
        found = sorted({class_id for class_id, _ in self._crops})[:CLASSES]
        tiles = [*self._tiles, *map(self._of_class, found)]
        if tiles:
            save(arranged(tiles, headline), path, format="PNG", optimize=True)
        return len(found)

    def _instance(self, look: Look, row: int) -> Instance:
        """A box as the overlay draws it: without a mask."""
        size_hw = look.frame.size_hw
        nothing = Rle(geometry.encode_masks(np.zeros((1, *size_hw), bool))[0], size_hw)
        x0, y0, x1, y1 = map(float, look.boxes_xyxy[row])
        phrase = self._phrases.texts[int(look.phrase_ids[row])]
        class_id, score = int(look.class_ids[row]), float(look.scores[row])
        return Instance(str(row), class_id, phrase, score, (x0, y0, x1, y1), nothing, 0, 0.0)

    def _of_class(self, class_id: int) -> Tile:
        """Crops of one class on a tile, the surest first, each with its score."""
        w, h = _CROP_WH
        canvas = PilImage.new("RGB", TILE_WH, (24, 24, 24))
        pen = ImageDraw.Draw(canvas)
        font = ImageFont.truetype(str(font_for(["0"])), _TEXT_PX)
        scores = []
        held = [self._crops[class_id, s] for s in CROPS if (class_id, s) in self._crops]
        for n, (_, score, crop) in enumerate(held):
            x, y = n % 4 * w, n // 4 * h
            free_w, free_h = w - crop.shape[1], h - 18 - crop.shape[0]
            canvas.paste(PilImage.fromarray(crop), (x + free_w // 2, y + free_h // 2))
            enough = score >= self._limits[class_id]
            colour = (224, 224, 224) if enough else (255, 196, 84)
            pen.text((x + w // 2, y + h - 9), f"{score:.2f}", colour, font, anchor="mm")
            scores.append(score)
        name = f"{self._classes.names[class_id]}: {max(scores):.2f} to {min(scores):.2f}"
        return Tile(np.asarray(canvas), name, "", max(scores) < self._limits[class_id])


def _crop(image: Image, box_xyxy: np.ndarray) -> Image:
    """A box with what is around it, at the size of its place, its outline drawn."""
    x0, y0, x1, y1 = map(float, box_xyxy)
    around = AROUND * max(x1 - x0, y1 - y0, 8)
    h, w = image.shape[:2]
    left, top = max(0, int(x0 - around)), max(0, int(y0 - around))
    right, bottom = min(w, int(x1 + around) + 1), min(h, int(y1 + around) + 1)
    scale = min(_CROP_WH[0] - 4, 0.9 * (_CROP_WH[1] - 18)) / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    crop = cv2.resize(image[top:bottom, left:right], size, interpolation=method)
    corner = round((x0 - left) * scale), round((y0 - top) * scale)
    other = round((x1 - left) * scale), round((y1 - top) * scale)
    return np.asarray(cv2.rectangle(crop, corner, other, (255, 255, 255), 1), np.uint8)
