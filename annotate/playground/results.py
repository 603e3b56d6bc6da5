"""What a job found, drawn and listed at any threshold: no model is asked again."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from annotate.data.decisions import Decision
from annotate.data.selection import Selection, kept_instances
from annotate.data.types import Frame, FrameRecord, Image, Instance
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import MediaError
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.report.overlay import Overlay, track_colour

BEST_BELOW = 5  # candidates that are drawn where nothing reaches the threshold
LINE_PX, ROW_PX = 900, 18  # of a time-line: its width at least, and the height of a track
HEAD_PX = 44  # above it, for its label
EMPTY = 245  # grey, where a track is not seen
SHOWN_PX = 1600  # the longer side of what the page shows: a phone's photo would take seconds


@dataclass(frozen=True, slots=True)
class Results:
    """The records of one picture or one clip."""

    run: Run
    records: tuple[FrameRecord, ...]  # with what was decided

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Raises MediaError with the reason where the picture could not be annotated."""
        run = Run.open(folder)
        selection = Selection(run.decisions(), run.classes)
        taken = (selection.take(record) for record in run.frames())
        records = tuple(record for record in taken if record is not None)
        failed = next((r for r in records if r.status == "failed"), None)
        if failed is not None or not records:
            raise MediaError(failed.error if failed is not None else "there is nothing in it")
        return cls(run, records)

    def object_at(
        self, at: int, threshold: float, point_xy: tuple[float, float]
    ) -> Instance | None:
        """The smallest object that is seen at a point of a frame, px."""
        there = [i for i in self.kept(at, threshold) if _covers(i, point_xy)]
        return min(there, key=lambda i: i.area, default=None)

    def decide(self, decision: Decision) -> Results:
        """Write a decision of the run, as a review makes it. The results then."""
        reviews.write(self.run.reviews_dir, [decision])
        return Results.read(self.run.path)

    def undo(self) -> Results:
        """Take back what was decided last."""
        parts = sorted(self.run.reviews_dir.glob("*.parquet"))
        if parts:
            parts[-1].unlink()
        return Results.read(self.run.path)

    def last_track(self) -> int:
        """The highest track id, 0 where there is none."""
        return max((i.track_id for i in self._all()), default=0)

    @property
    def is_video(self) -> bool:
        return self.records[0].media == "video"

    def at(self, frame: float) -> int:
        """Which record shows a frame of the clip, or the annotated one before it."""
        return max(0, bisect_right(self.records, int(frame), key=lambda r: r.frame_index) - 1)

    def kept(self, at: int, threshold: float) -> list[Instance]:
        """The instances of a record that an export at this threshold has."""
        return list(kept_instances(self.records[at], self.run.classes, threshold))

    def picture(self, at: int) -> Image:
        """The frame of a record, RGB."""
        return frame_of(self.run, self.records[at]).image

    def drawn(self, at: int, threshold: float) -> Image:
        """A frame with its instances, at the size that the page shows it.

        Where nothing at all reaches the threshold, the best below it are drawn dashed.
        """
        overlay, kept = Overlay(self.run.classes), self.kept(at, threshold)
        picture = fitted(self.picture(at))
        if kept or any(self.kept(n, threshold) for n in range(len(self.records))):
            return overlay.draw(picture, kept)
        below = sorted(self.records[at].instances, key=lambda i: -i.score)[:BEST_BELOW]
        missed = {i.instance_id: threshold for i in below}
        return overlay.draw(picture, below, below=missed)

    def frame_xy(self, at: int, shown_xy: tuple[float, float]) -> tuple[float, float]:
        """The place in a frame, px, of one in the picture that `drawn` made of it."""
        record = self.records[at]
        w, h = _fitted_wh((record.width, record.height))
        return (shown_xy[0] + 0.5) * record.width / w, (shown_xy[1] + 0.5) * record.height / h

    def table(self, threshold: float) -> list[list[object]]:
        """Of a picture a row for each instance, of a clip one for each track."""
        rows: list[list[object]] = []
        if not self.is_video:
            for n, i in enumerate(self.kept(0, threshold), start=1):
                rows.append([n, i.class_name, i.phrase, round(i.score, 3), i.area])
            return rows
        frames: Counter[int] = Counter()
        first: dict[int, tuple[int, Instance]] = {}
        for at, record in enumerate(self.records):
            for i in self.kept(at, threshold):
                frames[i.track_id] += 1
                first.setdefault(i.track_id, (record.frame_index, i))
        for track_id, (index, i) in sorted(first.items()):
            rows.append([track_id, i.class_name, round(i.score, 3), frames[track_id], index])
        return rows

    def timeline(self, threshold: float) -> Image:
        """A row for each track, a column for each annotated frame, in the picture's colours."""
        rows = {row[0]: n for n, row in enumerate(self.table(threshold))}
        cells = np.full((max(1, len(rows)), len(self.records), 3), EMPTY, np.uint8)
        for at in range(len(self.records)):
            for i in self.kept(at, threshold):
                colour = track_colour(i.track_id)
                cells[rows[i.track_id], at] = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        wide = max(1, -(-LINE_PX // len(self.records)))
        line = cells.repeat(ROW_PX, axis=0).repeat(wide, axis=1)
        head = np.full((HEAD_PX, line.shape[1], 3), EMPTY, np.uint8)
        return np.concatenate([head, line])

    def said(self, threshold: float) -> str:
        """How much there is; where there is nothing, what to change."""
        counts = Counter(str(row[1]) for row in self.table(threshold))
        if counts:
            found = ", ".join(f"{n} {name}" for name, n in counts.most_common())
            return f"Found: {found}{f' in {len(self.records):,} frames' if self.is_video else ''}."
        best: dict[str, float] = {}
        for i in self._all():
            best[i.class_name] = max(best.get(i.class_name, 0.0), i.score)
        if not best:
            return (
                "Nothing found, not even faintly. Other words may help (what would a caption call "
                "it?), or another preset of models."
            )
        ranked = sorted(best.items(), key=lambda pair: -pair[1])
        faint = ", ".join(f"{name} {score:.2f}" for name, score in ranked[:BEST_BELOW])
        return (
            f"Nothing reaches {threshold:.2f}; the best are drawn dashed: {faint}. Lower the "
            f"threshold to {ranked[0][1]:.2f} or less, or try other words."
        )

    def _all(self) -> Iterator[Instance]:
        for record in self.records:
            yield from record.instances


def frame_of(run: Run, record: FrameRecord) -> Frame:
    """What a record is of, decoded once more. Raises MediaError where it is gone."""
    source = run.source(record.item, record.media)
    if record.media == "image":
        return Frame(source, read_image(source.path, depth=source.depth))
    return next(iter(open_video(source).frames_at([record.frame_index])))


def fitted(picture: Image) -> Image:
    """A picture at the size that the page shows it."""
    h, w = picture.shape[:2]
    size = _fitted_wh((w, h))
    if size == (w, h):
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fitted_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    share = min(1.0, SHOWN_PX / max(size_wh))
    return max(1, round(size_wh[0] * share)), max(1, round(size_wh[1] * share))


def _covers(instance: Instance, point_xy: tuple[float, float]) -> bool:
    x, y = point_xy
    x0, y0, x1, y1 = instance.box_xyxy
    if not (x0 <= x < x1 and y0 <= y < y1):
        return False
    return bool(instance.mask.decode()[int(y), int(x)])
