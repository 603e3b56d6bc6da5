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
from annotate.playground.corrections import Handover
from annotate.playground.engine import Engine
from annotate.playground.results import Results, fitted

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
    results: Results | None = None
    remarks: list[str] = field(default_factory=list)  # of the last job
    handover: Handover | None = None
    _words: list[str] = field(default_factory=list)  # of the last job
    _marked: Marked | None = None
    _drawn: tuple[Results, float] | None = None  # what the annotated clip shows

    def close(self) -> None:
        """End what is at work, and remove everything."""
        self.engine.stop(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """End what is at work."""
        self.engine.stop(self)

    def forget(self) -> None:
        """Let go of the results: something else is looked at."""
        self.results, self._marked, self._drawn, self.remarks = None, None, None, []

    def look(self, item: Item) -> Image:
        """A picture, or a clip's first frame, at the size that the page shows it. MediaError."""
        with at_hand(item) as source:
            self.limits.check(source)
            return fitted(_first_frame(source, self.limits.max_pixels).image)

    def annotate(self, asked: Asked) -> Generator[str]:
        """Raises AnnotateError."""
        self.forget()
        self._words = asked.lay_out(self.folder, self.limits)
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
        new = corrections.added(record, class_name, results.next_number(), results.next_track())
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

    def draw(self, threshold: float) -> Generator[str, None, Path]:
        """The annotated clip, playable, or picture. Raises AnnotateError."""
        results = self._there()
        path = yield from self.engine.carry_out(self, tasks.draw, results.run.path, threshold)
        self._drawn = results, threshold
        return path

    def is_drawn(self, threshold: float) -> bool:
        """Whether the annotated clip shows the results as they are now."""
        drawn = self._drawn
        return drawn is not None and drawn[0] is self.results and drawn[1] == threshold

    def fetch(self, prompts: str, threshold: float) -> Generator[str, None, list[Path]]:
        """Everything there is to download. Raises AnnotateError."""
        results = self._there()
        run = results.run.path
        drawn = yield from self.draw(threshold)
        zips = yield from self.engine.carry_out(self, tasks.export, run, threshold)
        decided = sorted(results.run.reviews_dir.glob("*.parquet"))
        return [drawn, *zips, *decided, class_text.packed(prompts, self.folder)]

    def save(self) -> str:
        """Hand the decisions over to the run that the page was opened with; a sentence."""
        results = self._there()
        assert self.handover is not None
        made = list(results.run.reviews())
        if not made:
            return "Nothing was corrected yet."
        written, left = self.handover.save(made)
        run = self.handover.run.shown()
        several = "" if written == 1 else "s"
        said = f"{written:,} decision{several} saved in {run}/reviews; "
        said += f"`annotate export run={run}` follows."
        return said + (f" {left:,} are about objects that the run does not have." if left else "")

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
