"""`contact_sheet.png`: what a run found, on one picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from annotate.data.selection import Selection, kept_instances
from annotate.data.types import FrameRecord, Image, Instance
from annotate.decode.download import at_hand
from annotate.errors import MediaError
from annotate.record.run_folder import Run
from annotate.report.label_font import font_for, shortened
from annotate.report.overlay import Overlay
from annotate.report.render import decoded, save
from annotate.report.sheet_choice import Choice, Survey, without_thresholds

log = logging.getLogger(__name__)

_Rgb = tuple[int, int, int]

NAMED = 6  # classes that found nothing, of those that no tile is about
TILE_WH: Final = (400, 300)  # px
COLUMNS: Final = 4
CANDIDATES: Final = 3  # most that a tile shows of a class that found nothing
_GAP: Final = 6
_TEXT_PX: Final = 13
_LINE_PX: Final = 22  # of a caption
_DARK, _LIGHT, _WARNING = (24, 24, 24), (224, 224, 224), (255, 196, 84)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What was drawn."""

    tiles: int
    below: int  # of them, those that show candidates below the threshold only


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture at the size of its place, and what is written below it."""

    image: Image
    name: str
    moment: str  # of a video
    below: bool


def write_contact_sheet(run: Run, path: Path, *, threshold: float, tiles: int) -> Sheet:
    """Draw up to `tiles` frames of the run, as reviewed, into one PNG.

    They are spread over the dataset, and show every class that was found if the tiles suffice.
    Where a class found nothing, the last ones show its best candidates below the threshold, dashed.
    What cannot be read is replaced, with a warning. Without any frame to show there is no file
    afterwards. Raises StorageError when the disk refuses.
    """
    survey = Survey(run, threshold, tiles)
    drawn: dict[str, Tile] = {}
    gone: set[str] = set()
    chosen = survey.choose()
    while due := [c for c in chosen if c.frame_id not in drawn]:
        drawn |= _draw(run, due, threshold)
        # Of a video that is torn, the frames before are there.
        readable = {tile.name for tile in drawn.values()}
        lost = [c for c in due if c.frame_id not in drawn]
        gone |= {c.frame_id if c.item in readable else c.item for c in lost}
        chosen = survey.choose(gone)
    shown = [drawn[c.frame_id] for c in chosen]
    if not shown:
        path.unlink(missing_ok=True)
    else:
        save(
            arranged(shown, _headline(run, chosen, survey.missing, threshold)),
            path,
            format="PNG",
            optimize=True,
        )
    return Sheet(len(shown), sum(tile.below for tile in shown))


def _draw(run: Run, due: Sequence[Choice], threshold: float) -> dict[str, Tile]:
    """A tile per frame, less those that cannot be read."""
    choices = {choice.frame_id: choice for choice in due}
    overlay = Overlay(run.classes)
    drawn = {}
    for image, record, below in _pictures(run, choices, threshold):
        tile = overlay.tile(image, record.instances, TILE_WH, below=below)
        moment = f"  frame {record.frame_index}, {record.time_s:.1f} s"
        drawn[record.frame_id] = Tile(
            tile, record.item, moment if record.media == "video" else "", bool(below)
        )
    return drawn


def _pictures(
    run: Run, choices: dict[str, Choice], threshold: float
) -> Iterator[tuple[Image, FrameRecord, dict[str, float]]]:
    """Frames with what is drawn on them, and the thresholds that candidates do not reach."""
    selection = Selection(run.decisions(), run.classes)
    limits = run.classes.thresholds(threshold)
    any_score = without_thresholds(run.classes)
    records = run.some_frames(choices)
    for (item, media), rows in groupby(records, lambda r: (r.item, r.media)):
        shown, candidates = [], {}
        for row in rows:
            taken = selection.take(row)
            assert taken is not None  # it would not have been chosen
            kept = list(kept_instances(taken, run.classes, threshold))
            seeks = choices[row.frame_id].seeks
            best: list[Instance] = []
            if seeks is not None:
                all_of_it = (
                    i for i in kept_instances(taken, any_score, 0.0) if i.class_id == seeks
                )
                best = sorted(all_of_it, key=lambda i: (-i.score, i.instance_id))[:CANDIDATES]
            candidates[row.frame_id] = {i.instance_id: limits[i.class_id] for i in best}
            shown.append(replace(taken, instances=(*kept, *best)))
        try:
            with at_hand(run.source(item, media)) as source:
                for image, record in decoded(source, iter(shown)):
                    yield image, record, candidates.pop(record.frame_id)
                if candidates:
                    raise MediaError(f"it ends before {next(iter(candidates))}")
        except MediaError as error:
            log.warning("%s: not on the contact sheet: %s", item, error)


def _headline(run: Run, chosen: Sequence[Choice], missing: Sequence[int], threshold: float) -> str:
    """What has to be said of classes that found nothing; "" where there are none."""
    if not missing:
        return ""
    own = any(run.classes.classes[n].threshold is not None for n in missing)
    limit = "its threshold" if own else f"the threshold of {threshold:.2f}"
    if all(choice.seeks is not None for choice in chosen):
        return f"nothing reaches {limit}: the best candidates below it"
    sought = [n for n in missing if any(choice.seeks == n for choice in chosen)]
    named = sought or missing[:NAMED]
    others = f" and {left} more" if (left := len(missing) - len(named)) else ""
    shown = ": the last tiles show the best candidates below it" if sought else ""
    names = ", ".join(run.classes.names[n] for n in named)
    return f"nothing of {names}{others} reaches {limit}{shown}"


def arranged(tiles: Sequence[Tile], headline: str) -> Image:
    """Tiles in rows on one picture, below a line of text, if there is one."""
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    w, h = TILE_WH[0], TILE_WH[1] + _LINE_PX
    top = _LINE_PX + _GAP if headline else 0
    size = columns * (w + _GAP) - _GAP, top + rows * (h + _GAP) - _GAP
    canvas = PilImage.new("RGB", size, _DARK)
    pen = ImageDraw.Draw(canvas)
    names = [_printable(tile.name) for tile in tiles]
    font = ImageFont.truetype(str(font_for([*names, headline, "frame"])), _TEXT_PX)

    def write(
        x: int, y: int, width: int, text: str, end: str, colour: tuple[int, int, int]
    ) -> None:
        room = width - 2 * _GAP - font.getlength(end)
        said = shortened(text, lambda s: font.getlength(s) <= room) + end
        pen.text((x + _GAP, y + _LINE_PX // 2), said, colour, font, anchor="lm")

    if headline:
        write(0, _GAP // 2, size[0], headline, "", _WARNING)
    for n, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        x, y = n % columns * (w + _GAP), top + n // columns * (h + _GAP)
        free_w, free_h = w - tile.image.shape[1], TILE_WH[1] - tile.image.shape[0]
        canvas.paste(PilImage.fromarray(tile.image), (x + free_w // 2, y + free_h // 2))
        colour = _WARNING if tile.below else _LIGHT
        write(x, y + TILE_WH[1], w, name, tile.moment, colour)
    return np.asarray(canvas)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)
