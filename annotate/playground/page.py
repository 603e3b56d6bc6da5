"""The page: what happens where a visitor does something on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import gradio as gr

from annotate.config.settings import PlaygroundCommand
from annotate.data.types import Item, Media
from annotate.errors import AnnotateError, MediaError
from annotate.playground.asked import Asked, Limits
from annotate.playground.engine import Engine
from annotate.playground.layout import Click, Tab, escaped, paragraphs, refusal, tab_of
from annotate.playground.offered import Offered
from annotate.playground.visit import NOTHING_ASKED, Visit
from annotate.record.run_folder import Run
from annotate.runner.terminal import complain

TITLE = (
    "# annotate\nTry words on a picture or a clip before the long run. Nothing leaves this machine."
)
CLIP = "Annotated clip"
FILES = "Downloads"
STALE = ", before the last change (Make downloads makes them anew)"
EXAMPLE = "red circle\nblue square\ngreen triangle"
KEPT_S = 3600  # after which what a visitor made is removed
CLEARED_S = 600  # between two looks for that
# What the models do: one at a time, others wait, and are told their place.
JOB: dict[str, Any] = {
    "concurrency_id": "job", "concurrency_limit": 1, "show_progress": "minimal",
}  # fmt: skip
# What needs no model is answered by the very request. (The queue's answers share one stream; it
# may be closed behind one that ends while the next begins, which then is never answered.)
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}

T = TypeVar("T")
Shown = dict[Any, Any]  # parts of the page, and what they show from now on


class Place(NamedTuple):
    """A click that the models have to see to."""

    at: int  # the record
    frame_id: str  # of it
    xy: tuple[float, float]  # px of its frame
    click: Click
    class_name: str


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and what its visitors share."""

    root: Path  # folder of what they make
    command: PlaygroundCommand
    keys: tuple[str, ...]  # further ones of the command line, for every job
    prompts: str  # class list that it begins with; "": the example
    offered: Future[Offered]  # which may take a while
    run: Run | None  # that corrections can be saved to
    shown: str  # what a whole dataset is called in commands
    engine: Engine

    def blocks(self) -> gr.Blocks:
        """The page itself."""
        with gr.Blocks(
            title="annotate", analytics_enabled=False, delete_cache=(CLEARED_S, KEPT_S)
        ) as page:
            gr.Markdown(TITLE)
            for media in ("image", "video"):
                tab = tab_of(
                    media,
                    prompts=self.prompts or EXAMPLE,
                    models=self.command.playground.models,
                    told=self.command.track.prompt,
                    threshold=self.command.threshold,
                    floor=self.command.ground.floor,
                    saves=self.run.shown() if self.run is not None else "",
                )
                handlers = _Handlers(self, media, tab)
                handlers.wire()
                page.load(handlers.offer, None, [tab.pick], **AT_ONCE)
        made: gr.Blocks = page
        return made

    def visit(self) -> Visit:
        """Of a new visitor."""
        own = self.command.playground
        limits = Limits(own.max_mb, own.max_frames, self.command.dataset.max_pixels)
        folder = Path(tempfile.mkdtemp(dir=self.root))
        return Visit(folder, self.engine, limits, self.run, threshold=self.command.threshold)


class _Handlers:
    """What happens on one tab. Whatever cannot be done is a sentence in its status line."""

    def __init__(self, page: Page, media: Media, tab: Tab) -> None:
        self._page, self._media, self._tab = page, media, tab

    def wire(self) -> None:
        """Tie the parts of the tab to what they do."""
        tab = self._tab
        visit = gr.State(None, time_to_live=KEPT_S, delete_callback=_forget)
        place: gr.State = gr.State(None)
        self._visit, self._place = visit, place
        results = [visit, tab.picture, tab.line, tab.table, tab.status, tab.clip, tab.files]
        begun = [*results, tab.command, tab.frame]
        now = [visit, tab.threshold, tab.frame]
        tab.upload.upload(self.uploaded, [tab.upload, visit], [tab.pick, *begun], **AT_ONCE)
        tab.pick.input(
            self.picked, [tab.pick, tab.prompts, visit],
            [tab.upload, tab.prompts, *begun], **AT_ONCE,
        )  # fmt: skip
        job = tab.begin.click(
            self.annotate,
            [tab.upload, tab.pick, tab.prompts, tab.models, tab.told, tab.floor, *now],
            [*begun, tab.new_class],
            show_progress_on=[tab.status], **JOB,
        )  # fmt: skip
        for slider in (tab.threshold, tab.frame):
            slider.change(self.show, now, results, **AT_ONCE)
        tab.picture.select(
            self.clicked, [*now, tab.click, tab.new_class, tab.prompts],
            [place, tab.ticket, tab.prompts, *results], **AT_ONCE,
        )  # fmt: skip
        placed = tab.ticket.change(
            self.place, [place, visit], results, show_progress_on=[tab.status], **JOB
        )
        tab.undo.click(self.undo, now, results, **AT_ONCE)
        tab.save.click(self.save, [visit], [tab.status], **AT_ONCE)
        fetched = tab.fetch.click(
            self.fetch, now, results,
            show_progress_on=[tab.status], **JOB,
        )  # fmt: skip
        # What is at work ends, and what waits for its turn gives it up.
        tab.cancel.click(self.stop, [visit], results, cancels=[job, placed, fetched], **AT_ONCE)

    def offer(self) -> Any:
        """What there is to choose, once it is known."""
        try:
            offered = self._page.offered.result()
        except AnnotateError as error:
            complain(f"playground: {error}")
            return gr.Dropdown(label=str(error), visible=True)
        names = offered.names(self._media)
        return gr.Dropdown(
            choices=names, label=f"or take one of {offered.what}", visible=bool(names)
        )

    def uploaded(self, upload: str | None, visit: Visit | None) -> Shown:
        """See what was uploaded."""
        return {self._tab.pick: None, **self._looked(upload, None, visit)}

    def picked(self, pick: str | None, prompts: str, visit: Visit | None) -> Shown:
        """See what was chosen; the class list that goes with it stands in for the example."""
        shown = {self._tab.upload: None, **self._looked(None, pick, visit)}
        if prompts.strip() == EXAMPLE and (own := self._offered().prompts):
            shown[self._tab.prompts] = own
        return shown

    def _offered(self) -> Offered:
        """What there is to choose; nothing, where it could not be found."""
        try:
            return self._page.offered.result()
        except AnnotateError:
            return Offered((), "the dataset, which cannot be read")

    def _looked(self, upload: str | None, pick: str | None, visit: Visit | None) -> Shown:
        visit, said = visit or self._page.visit(), ""
        try:
            visit.look(self._item(upload, pick))
        except AnnotateError as error:
            said = self._refused(error)
        return self._cleared(visit) | {self._tab.status: said}

    def _cleared(self, visit: Visit) -> Shown:
        """Nothing but what is chosen."""
        tab = self._tab
        return {
            self._visit: visit,
            tab.picture: visit.preview,
            tab.line: gr.Image(value=None, visible=False),
            tab.table: [],
            tab.clip: gr.Video(value=None, visible=False),
            tab.files: gr.Files(value=None, visible=False),
            tab.command: "",
            tab.frame: gr.Slider(value=0, visible=False),
        }

    def _item(self, upload: str | None, pick: str | None) -> Item:
        """Raises AnnotateError where nothing is chosen."""
        if upload is not None:
            path = Path(upload)
            name = path.name.lstrip(".") or "upload"  # a hidden file is no item of a dataset
            return Item(name, path, self._media, depth=self._page.command.decode.depth)
        if pick:
            return self._offered().find(pick, self._media)
        raise MediaError(f"Choose a {'clip' if self._media == 'video' else 'picture'} first.")

    def annotate(
        self,
        upload: str | None,
        pick: str | None,
        prompts: str,
        models: str,
        told: str,
        floor: float,
        visit: Visit | None,
        threshold: float,
        frame: float,
    ) -> Iterator[Shown]:
        """How far it is, then the results; of a clip also the annotated one."""
        tab, visit = self._tab, visit or self._page.visit()
        visit.threshold, visit.frame = threshold, 0
        yield self._cleared(visit) | {tab.status: "Beginning ..."}
        own = [f"ground.floor={floor:g}", f"threshold={threshold:g}"]
        if self._media == "video":
            own.append(f"track.prompt={told}")
        try:
            asked = Asked(
                self._item(upload, pick), prompts, models, (*self._page.keys, *own),
                self._page.shown,
            )  # fmt: skip
            yield {tab.command: asked.shown(visit.folder)}
            yield from self._telling(visit, visit.annotate(asked))
            results = visit.results
            if results is None:  # meanwhile something else was chosen
                return
            names, last = list(results.run.classes.names), results.records[-1].frame_index
            yield {
                **self._seen(visit),
                tab.frame: gr.Slider(maximum=max(1, last), value=0, visible=results.is_video),
                tab.new_class: gr.Dropdown(choices=names, value=names[0]),
            }
            if results.is_video:
                path = yield from self._telling(visit, visit.draw())
                yield self._seen(visit) | {tab.clip: gr.Video(str(path), label=CLIP, visible=True)}
        except AnnotateError as error:
            yield {tab.status: self._refused(error)}

    def _telling(self, visit: Visit, task: Generator[str, None, T]) -> Generator[Shown, None, T]:
        """What a task says, shown; what it comes to."""
        while True:
            try:
                # With each word the visit is used, so that it is not taken for one that is over.
                yield {self._visit: visit, self._tab.status: escaped(next(task))}
            except StopIteration as end:
                result: T = end.value
                return result

    def show(self, visit: Visit | None, threshold: float, frame: float) -> Shown:
        """The stored results where the sliders are now: no model is asked."""
        if visit is None:
            return {self._visit: None}
        visit.threshold, visit.frame = threshold, frame
        return self._seen(visit)

    def _seen(self, visit: Visit) -> Shown:
        """The results as they are now, which may be none."""
        results, tab, threshold = visit.results, self._tab, visit.threshold
        if results is None:
            return {self._visit: visit}
        line = results.timeline(threshold) if results.is_video else None
        said = [results.said(threshold), *visit.remarks]
        return {
            self._visit: visit,
            tab.picture: results.drawn(results.at(visit.frame), threshold),
            tab.line: gr.Image(value=line, visible=results.is_video),
            tab.table: results.table(threshold),
            tab.status: paragraphs(said),
            tab.clip: gr.Video(label=CLIP if visit.is_drawn() else f"{CLIP}{STALE}"),
            tab.files: gr.Files(label=FILES if visit.is_fetched() else f"{FILES}{STALE}"),
        }

    def clicked(
        self,
        visit: Visit | None,
        threshold: float,
        frame: float,
        click: str,
        class_name: str,
        prompts: str,
        event: gr.SelectData,
    ) -> Shown:
        """What a click comes to; what the models have to see to is only noted here."""
        if visit is None or (results := visit.results) is None:
            return {self._visit: visit}
        visit.threshold, visit.frame = threshold, frame
        x, y = event.index
        at = results.at(frame)
        xy = results.frame_xy(at, (float(x), float(y)))
        try:
            if click == Click.EXAMPLE:
                text = visit.exemplify(prompts, at, threshold, xy)
                said = "It is an example now: Annotate looks for what is like it."
                return {self._tab.prompts: text, self._tab.status: said}
            if click == Click.CORRECT and visit.reject(at, threshold, xy):
                return self._seen(visit)
        except AnnotateError as error:
            return {self._tab.status: self._refused(error)}
        return {
            self._place: Place(at, results.records[at].frame_id, xy, Click(click), class_name),
            self._tab.ticket: str(time.monotonic_ns()),  # has `place` be called
            self._tab.status: "Asking SAM 2 ...",
        }

    def place(self, place: Place | None, visit: Visit | None) -> Iterator[Shown]:
        """Have SAM 2 see what lies where a click was."""
        if place is None or visit is None or not visit.shows(place.at, place.frame_id):
            return
        try:
            if place.click == Click.CORRECT:
                lines = visit.add(place.at, place.xy, place.class_name)
            else:
                lines = visit.refine(place.at, place.xy, on=place.click == Click.MORE)
            yield from self._telling(visit, lines)
            yield self._seen(visit)
        except AnnotateError as error:
            yield {self._tab.status: self._refused(error)}

    def undo(self, visit: Visit | None, threshold: float, frame: float) -> Shown:
        """Take back what was decided last."""
        try:
            (visit or self._page.visit()).undo()
        except AnnotateError as error:
            return {self._tab.status: self._refused(error)}
        return self.show(visit, threshold, frame)

    def fetch(self, visit: Visit | None, threshold: float, frame: float) -> Iterator[Shown]:
        """Make everything that can be downloaded."""
        tab = self._tab
        try:
            if visit is None:
                raise MediaError(NOTHING_ASKED)
            visit.threshold, visit.frame = threshold, frame
            paths = yield from self._telling(visit, visit.fetch())
            shown = self._seen(visit)
            files = FILES if visit.is_fetched() else f"{FILES}{STALE}"
            shown[tab.files] = gr.Files([str(p) for p in paths], label=files, visible=True)
            if self._media == "video":
                clip = CLIP if visit.is_drawn() else f"{CLIP}{STALE}"
                shown[tab.clip] = gr.Video(str(paths[0]), label=clip, visible=True)
            yield shown
        except AnnotateError as error:
            yield {tab.status: self._refused(error)}

    def save(self, visit: Visit | None) -> Shown:
        """Hand corrections over to the run that the page was opened with."""
        try:
            said = escaped((visit or self._page.visit()).save())
        except AnnotateError as error:
            said = self._refused(error)
        return {self._tab.status: said}

    def stop(self, visit: Visit | None) -> Shown:
        """End what this visitor has at work, or has waiting."""
        if visit is not None and not visit.stop() and visit.results is not None:
            return self._seen(visit)
        return {self._tab.status: refusal("Stopped.")}

    def _refused(self, error: AnnotateError) -> str:
        complain(f"playground: {error}")
        return refusal(str(error))


def _forget(visit: Visit | None) -> None:
    if visit is not None:
        visit.close()
