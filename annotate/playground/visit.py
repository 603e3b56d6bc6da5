"""What one visitor has and does: a folder of their own, what was asked last, and its results."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image as PilImage

from annotate.data.decisions import Decision
from annotate.data.types import Frame, FrameRecord, Image, Item
from annotate.decode.download import at_hand
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import ConfigError, MediaError
from annotate.playground import class_text, corrections, tasks
from annotate.playground.asked import RUN, Asked, Limits
from annotate.playground.corrections import Handover, Saved
from annotate.playground.engine import Engine
from annotate.playground.results import Results, fitted
from annotate.record.run_folder import Run

WARNING = "warning: "
NOTHING_ASKED = "Annotate something first."
NOTHING_THERE = "There is no object at that place."


@dataclass(slots=True)
class Marked:
    """An object that was added, and the points that say where it is."""

    record: FrameRecord
    decision: Decision  # its mask is to come
    points: list[tasks.Point]


@dataclass(slots=True)
class Visit:
    """The methods that take long say on the way how far they are."""

    folder: Path
    engine: Engine
    limits: Limits
    run: Run | None = None  # that corrections can be saved to
    results: Results | None = None
    preview: Image | None = None  # of what is chosen
    remarks: list[str] = field(default_factory=list)  # of the last job
    threshold: float = 0.0  # where the sliders are, whatever goes on meanwhile
    frame: float = 0
    _words: list[str] = field(default_factory=list)  # of the last job
    _prompts: str = ""
    _handover: Handover | None = None
    _marked: Marked | None = None
    _last_track: int = 0  # that an object was given, even if it was taken back
    _drawn: tuple[Results, float] | None = None  # what the annotated clip shows
    _fetched: tuple[Results, float] | None = None  # what the downloads hold

    def close(self) -> None:
        """End what is at work, and remove everything."""
        self.engine.stop(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> bool:
        """End what is at work; whether anything was."""
        return self.engine.stop(self)

    def look(self, item: Item) -> Image:
        """A picture, or a clip's first frame, at the size that the page shows it. MediaError.

        What was at work or found before is let go of: it is of something else.
        """
        self.engine.stop(self)
        self._forget()
        self.preview = None
        with at_hand(item) as source:
            self.limits.check(source)
            self.preview = fitted(_first_frame(source, self.limits.max_pixels).image)
        return self.preview

    def _forget(self) -> None:
        self.results, self._marked, self._drawn, self._fetched = None, None, None, None
        self._handover = Handover(self.run) if self.run is not None else None
        self._last_track, self.remarks = 0, []

    def annotate(self, asked: Asked) -> Generator[str]:
        """Raises AnnotateError."""
        self._forget()
        self._words, self._prompts = asked.lay_out(self.folder, self.limits), asked.prompts
        yield "Beginning ..."
        for line in self.engine.carry_out(self, tasks.annotate, self._words):
            if line.startswith(WARNING):
                self.remarks.append(line.removeprefix(WARNING))
            else:
                yield line
        self.results = Results.read(self.folder / RUN)

    def reject(self, at: int, threshold: float, point_xy: tuple[float, float]) -> bool:
        """Reject what is seen at a point of a frame, px; False: there is nothing."""
        results = self._there()
        found = results.object_at(at, threshold, point_xy)
        if found is None:
            return False
        self._marked = None
        self.results = results.decide(corrections.rejected(results.records[at], found))
        return True

    def undo(self) -> None:
        """Take back what was decided last."""
        self._marked = None
        self.results = self._there().undo()

    def add(self, at: int, point_xy: tuple[float, float], class_name: str) -> Generator[str]:
        """One more object, which lies at a point of a frame. Raises AnnotateError."""
        results = self._there()
        record = results.records[at]
        if class_name not in results.run.classes.names:
            raise ConfigError("Choose the class of the new object first.")
        track_id = 0
        if results.is_video:
            track_id = self._last_track = 1 + max(self._last_track, results.last_track())
        new = corrections.added(record, class_name, track_id)
        yield from self._mark(Marked(record, new, [(*point_xy, True)]))

    def refine(self, at: int, point_xy: tuple[float, float], *, on: bool) -> Generator[str]:
        """A further point on the object that was added last, or beside it. AnnotateError."""
        marked = self._marked
        if marked is None:
            raise ConfigError("Add an object first, by a click where there is none.")
        if marked.record.frame_id != self._there().records[at].frame_id:
            raise ConfigError(f"The last new object was added in {marked.record.frame_id}.")
        points = [*marked.points, (*point_xy, on)]
        yield from self._mark(Marked(marked.record, marked.decision, points))

    def _mark(self, marked: Marked) -> Generator[str]:
        frames = yield from self.engine.carry_out(
            self,
            tasks.add_object,
            self._words,
            self.folder / RUN,
            marked.decision,
            marked.record,
            marked.points,
        )
        if not frames:
            raise MediaError("SAM 2 finds nothing at that place.")
        self._marked = marked
        self.results = Results.read(self.folder / RUN)

    def exemplify(
        self, prompts: str, at: int, threshold: float, point_xy: tuple[float, float]
    ) -> str:
        """The class list with what is seen at a point as an example of its class. AnnotateError."""
        results = self._there()
        found = results.object_at(at, threshold, point_xy)
        if found is None:
            raise MediaError(NOTHING_THERE)
        record = results.records[at]
        source = results.run.source(record.item, record.media)
        picture = source.path
        if results.is_video:  # an example is a box in a picture
            stem = Path(record.item).stem
            picture = self.folder / f"{stem}-{record.frame_index:06d}.png"
            PilImage.fromarray(results.picture(at)).save(picture)
        return class_text.with_example(
            prompts, self.folder, found.class_name, picture, found.box_xyxy
        )

    def draw(self) -> Generator[str, None, Path]:
        """The annotated clip, playable, or picture. Raises AnnotateError."""
        results, threshold = self._there(), self.threshold
        path = yield from self.engine.carry_out(self, tasks.draw, results.run.path, threshold)
        self._drawn = results, threshold
        return path

    def shows(self, at: int, frame_id: str) -> bool:
        """Whether a record of the results is of this frame."""
        records = self.results.records if self.results is not None else ()
        return at < len(records) and records[at].frame_id == frame_id

    def is_drawn(self) -> bool:
        """Whether the annotated clip shows the results as they are now."""
        return self._is_now(self._drawn)

    def is_fetched(self) -> bool:
        """Whether the downloads hold the results as they are now."""
        return self._is_now(self._fetched)

    def _is_now(self, made: tuple[Results, float] | None) -> bool:
        return made is not None and made[0] is self.results and made[1] == self.threshold

    def fetch(self) -> Generator[str, None, list[Path]]:
        """Everything there is to download, of the results as they are now. Raises AnnotateError."""
        results, threshold = self._there(), self.threshold
        run = results.run.path
        drawn = yield from self.draw()
        zips = yield from self.engine.carry_out(self, tasks.export, run, threshold)
        decided = sorted(results.run.reviews_dir.glob("*.parquet"))
        classes = class_text.packed(self._prompts, self.folder)
        self._fetched = results, threshold
        return [drawn, *zips, *decided, classes]

    def save(self) -> str:
        """Hand the decisions over to the run that the page was opened with; a sentence."""
        made = list(self._there().run.reviews())
        assert self._handover is not None and self.run is not None
        saved = self._handover.save(made)
        if saved == Saved(0, 0, 0):
            return "Nothing was corrected yet."
        counts = [
            (saved.written, "saved"),
            (saved.taken_back, "taken back"),
            (saved.unknown, "about objects that the run does not have"),
        ]
        said = ", ".join(f"{n:,} {what}" for n, what in counts if n or what == "saved")
        return f"Decisions in {self.run.shown()}/reviews: {said}. Exports of it carry them out."

    def _there(self) -> Results:
        if self.results is None:
            raise MediaError(NOTHING_ASKED)
        return self.results


def _first_frame(source: Item, max_pixels: int) -> Frame:
    if source.media == "image":
        pixels = read_image(source.path, max_pixels=max_pixels, depth=source.depth)
        return Frame(source, pixels)
    frame = next(iter(open_video(source, max_pixels=max_pixels).frames(stride=1)), None)
    if frame is None:
        raise MediaError("There is no frame in it.")
    return frame
