"""The page: what happens where a visitor does something on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from annotate.config.settings import PlaygroundCommand
from annotate.data.types import Item, Media
from annotate.errors import AnnotateError, MediaError
from annotate.playground.asked import Asked, Limits
from annotate.playground.corrections import Handover
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
STALE_CLIP = f"{CLIP}, before the last change (Make downloads draws it anew)"
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

Shown = dict[Any, Any]  # parts of the page, and what they show from now on


class Place(NamedTuple):
    """A click that the models have to see to."""

    at: int  # the record
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
        handover = Handover(self.run) if self.run is not None else None
        return Visit(Path(tempfile.mkdtemp(dir=self.root)), self.engine, limits, handover=handover)


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
        results = [visit, tab.picture, tab.line, tab.table, tab.status, tab.clip]
        now = [visit, tab.threshold, tab.frame]
        tab.upload.upload(
            self.uploaded,
            [tab.upload, visit],
            [visit, tab.pick, tab.picture, tab.status],
            **AT_ONCE,
        )
        tab.pick.input(
            self.picked, [tab.pick, tab.prompts, visit],
            [visit, tab.upload, tab.prompts, tab.picture, tab.status], **AT_ONCE,
        )  # fmt: skip
        job = tab.begin.click(
            self.annotate,
            [tab.upload, tab.pick, tab.prompts, tab.models, tab.told, tab.floor, *now],
            [*results, tab.command, tab.frame, tab.new_class, tab.files],
            show_progress_on=[tab.status], **JOB,
        )  # fmt: skip
        for slider in (tab.threshold, tab.frame):
            slider.change(self.show, now, results, **AT_ONCE)
        tab.picture.select(
            self.clicked, [*now, tab.click, tab.new_class, tab.prompts],
            [place, tab.ticket, tab.prompts, *results], **AT_ONCE,
        )  # fmt: skip
        placed = tab.ticket.change(
            self.place, [place, *now], results, show_progress_on=[tab.status], **JOB
        )
        tab.undo.click(self.undo, now, results, **AT_ONCE)
        tab.save.click(self.save, [visit], [tab.status], **AT_ONCE)
        fetched = tab.fetch.click(
            self.fetch, [tab.prompts, *now], [tab.clip, tab.files, tab.status],
            show_progress_on=[tab.status], **JOB,
        )  # fmt: skip
        # What is at work ends, and what waits for its turn gives it up.
        tab.cancel.click(
            self.stop, [visit], [tab.status], cancels=[job, placed, fetched], **AT_ONCE
        )

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
        visit = visit or self._page.visit()
        visit.forget()
        shown: Shown = {self._visit: visit, self._tab.picture: None, self._tab.status: ""}
        try:
            shown[self._tab.picture] = visit.look(self._item(upload, pick))
        except AnnotateError as error:
            shown[self._tab.status] = self._refused(error)
        return shown

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
        yield {self._visit: visit, tab.status: "Beginning ...", tab.files: gr.Files(visible=False)}
        own = [f"ground.floor={floor:g}", f"threshold={threshold:g}"]
        if self._media == "video":
            own.append(f"track.prompt={told}")
        try:
            asked = Asked(
                self._item(upload, pick), prompts, models, (*self._page.keys, *own),
                self._page.shown,
            )  # fmt: skip
            yield {tab.command: asked.shown(visit.folder)}
            for line in visit.annotate(asked):
                yield {tab.status: escaped(line)}
            results = visit.results
            if results is None:  # meanwhile something else was chosen
                return
            names, last = list(results.run.classes.names), len(results.records) - 1
            yield {
                **self.show(visit, threshold, 0),
                tab.frame: gr.Slider(maximum=max(1, last), value=0, visible=results.is_video),
                tab.new_class: gr.Dropdown(choices=names, value=names[0]),
                tab.clip: gr.Video(visible=False),
            }
            if results.is_video:
                yield from self._drawn(visit, threshold)
        except AnnotateError as error:
            gone: Shown = {tab.picture: None, tab.line: gr.Image(visible=False), tab.table: []}
            yield {**(gone if visit.results is None else {}), tab.status: self._refused(error)}

    def _drawn(self, visit: Visit, threshold: float) -> Iterator[Shown]:
        """The annotated clip, to be played."""
        drawing = visit.draw(threshold)
        while True:
            try:
                yield {self._tab.status: escaped(next(drawing))}
            except StopIteration as end:
                clip = gr.Video(value=str(end.value), label=CLIP, visible=True)
                yield {self._tab.clip: clip, self._tab.status: self._said(visit, threshold)}
                return

    def show(self, visit: Visit | None, threshold: float, frame: float) -> Shown:
        """The stored results at a threshold: no model is asked."""
        if visit is None or visit.results is None:
            return {self._visit: visit}
        results, tab = visit.results, self._tab
        line = results.timeline(threshold) if results.is_video else None
        return {
            self._visit: visit,
            tab.picture: results.drawn(results.at(frame), threshold),
            tab.line: gr.Image(value=line, visible=results.is_video),
            tab.table: results.table(threshold),
            tab.status: self._said(visit, threshold),
            tab.clip: gr.Video(label=CLIP if visit.is_drawn(threshold) else STALE_CLIP),
        }

    def _said(self, visit: Visit, threshold: float) -> str:
        if visit.results is None:  # meanwhile something else was chosen
            return ""
        return paragraphs([visit.results.said(threshold), *visit.remarks])

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
        if visit is None or visit.results is None:
            return {self._visit: visit}
        x, y = event.index
        at = visit.results.at(frame)
        xy = visit.results.frame_xy(at, (float(x), float(y)))
        try:
            if click == Click.EXAMPLE:
                text = visit.exemplify(prompts, at, threshold, xy)
                said = "It is an example now: Annotate looks for what is like it."
                return {self._tab.prompts: text, self._tab.status: said}
            if click == Click.CORRECT and visit.reject(at, threshold, xy):
                return self.show(visit, threshold, frame)
        except AnnotateError as error:
            return {self._tab.status: self._refused(error)}
        return {
            self._place: Place(at, xy, Click(click), class_name),
            self._tab.ticket: str(time.monotonic_ns()),  # has `place` be called
            self._tab.status: "Asking SAM 2 ...",
        }

    def place(
        self, place: Place | None, visit: Visit | None, threshold: float, frame: float
    ) -> Iterator[Shown]:
        """Have SAM 2 see what lies where a click was."""
        if place is None or visit is None:
            return
        try:
            if place.click == Click.CORRECT:
                lines = visit.add(place.at, place.xy, place.class_name)
            else:
                lines = visit.refine(place.at, place.xy, on=place.click == Click.MORE)
            for line in lines:
                yield {self._tab.status: escaped(line)}
            yield self.show(visit, threshold, frame)
        except AnnotateError as error:
            yield {self._tab.status: self._refused(error)}

    def undo(self, visit: Visit | None, threshold: float, frame: float) -> Shown:
        """Take back what was decided last."""
        try:
            (visit or self._page.visit()).undo()
        except AnnotateError as error:
            return {self._tab.status: self._refused(error)}
        return self.show(visit, threshold, frame)

    def fetch(
        self, prompts: str, visit: Visit | None, threshold: float, frame: float
    ) -> Iterator[Shown]:
        """Make everything that can be downloaded."""
        tab = self._tab
        try:
            if visit is None:
                raise MediaError(NOTHING_ASKED)
            making = visit.fetch(prompts, threshold)
            while True:
                try:
                    yield {tab.status: escaped(next(making))}
                except StopIteration as end:
                    files = gr.Files(value=[str(path) for path in end.value], visible=True)
                    shown: Shown = {tab.files: files, tab.status: self._said(visit, threshold)}
                    if self._media == "video":
                        shown[tab.clip] = gr.Video(
                            value=str(end.value[0]), label=CLIP, visible=True
                        )
                    yield shown
                    return
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
        """End what this visitor has at work."""
        if visit is not None:
            visit.stop()
        return {self._tab.status: refusal("Stopped.")}

    def _refused(self, error: AnnotateError) -> str:
        complain(f"playground: {error}")
        return refusal(str(error))


def _forget(visit: Visit | None) -> None:
    if visit is not None:
        visit.close()
