"""The page: a tab for a picture and one for a clip, and what is seen of their results."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from annotate.data.types import Image, Item
from annotate.decode.video import frames_promised
from annotate.errors import AnnotateError, MediaError
from annotate.playground.exporting import export
from annotate.playground.job import Asked, Job
from annotate.playground.results import Results
from annotate.runner.terminal import complain

PRESETS = ("tiny", "fast", "balanced", "best")
EXAMPLE = "red circle\nblue square\ngreen triangle"
TRY = "Try words on a picture or a clip before the long run. Nothing leaves this machine."
WORDS = (
    "A class a line; `name: phrase one, phrase two` for synonyms. The preset `tiny` knows coloured "
    "shapes alone."
)
PICTURE_COLUMNS = ["number", "class", "phrase", "score", "area, px"]
CLIP_COLUMNS = ["track", "class", "score", "frames", "first frame"]
BUTTONS: Any = ["download", "fullscreen"]  # none that shares it with others
KEPT_S = 3600  # after which what a visitor made is removed


@dataclass(slots=True)
class Visit:
    """What one visitor has: a folder of their own, and the results in it."""

    folder: Path
    results: Results | None = None
    job: Job | None = None

    def close(self) -> None:
        """End what is at work, and remove everything."""
        if self.job is not None:
            self.job.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """The page, with where it keeps things for a while."""

    def __init__(self, root: Path, *, models: str, max_frames: int) -> None:
        self._root, self._models, self._max_frames = root, models, max_frames

    def blocks(self) -> gr.Blocks:
        """The page itself."""
        with gr.Blocks(title="annotate", analytics_enabled=False) as page:
            gr.Markdown(f"# annotate\n{TRY}")
            with gr.Tab("Picture"):
                self._tab(video=False)
            with gr.Tab("Clip"):
                self._tab(video=True)
        made: gr.Blocks = page
        return made

    def _tab(self, *, video: bool) -> None:
        visit = gr.State(None, time_to_live=KEPT_S, delete_callback=_forget)
        with gr.Row():
            with gr.Column(scale=1):
                upload = (
                    gr.Video(label="Clip", sources=["upload"], elem_id="clip-upload")
                    if video
                    else gr.Image(
                        label="Picture", type="filepath", sources=["upload"], image_mode=None,
                        buttons=["fullscreen"], elem_id="picture-upload",
                    )
                )  # fmt: skip
                kind = "clip" if video else "picture"
                prompts = gr.Textbox(
                    EXAMPLE, label="Classes", lines=4, info=WORDS, elem_id=f"{kind}-classes"
                )
                models = gr.Dropdown(list(PRESETS), value=self._models, label="Models")
                told = gr.Radio(
                    ["mask", "box", "point"],
                    value="mask",
                    label="How SAM 2 is told of a new object",
                    visible=video,
                )
                floor = gr.Slider(
                    0.05, 0.5, 0.1, step=0.01, label="Keep candidates from score (ground.floor)"
                )
                with gr.Row():
                    begin = gr.Button("Annotate", variant="primary", elem_id=f"{kind}-run")
                    cancel = gr.Button("Stop", elem_id=f"{kind}-stop")
                command = gr.Textbox(
                    label="The same over a whole dataset",
                    interactive=False,
                    elem_id=f"{kind}-command",
                )
            with gr.Column(scale=2):
                status = gr.Markdown("", elem_id=f"{kind}-status")
                picture = gr.Image(
                    label="Result (a click on an object rejects it)",
                    interactive=False,
                    format="png",
                    buttons=BUTTONS,
                    elem_id=f"{kind}-result",
                )
                threshold = gr.Slider(
                    0.0, 1.0, 0.3, step=0.01, label="Threshold", elem_id=f"{kind}-threshold"
                )
                frame = gr.Slider(
                    0, 1, 0, step=1, label="Frame", visible=False, elem_id=f"{kind}-frame"
                )
                line = gr.Image(
                    label="Tracks over time",
                    interactive=False,
                    visible=False,
                    buttons=BUTTONS,
                    elem_id=f"{kind}-line",
                )
                table = gr.Dataframe(
                    headers=CLIP_COLUMNS if video else PICTURE_COLUMNS,
                    interactive=False,
                    label="Tracks" if video else "Instances",
                    elem_id=f"{kind}-table",
                )
                with gr.Row():
                    undo = gr.Button("Take the last rejection back", elem_id=f"{kind}-undo")
                    fetch = gr.Button("Make downloads", elem_id=f"{kind}-fetch")
                clip = gr.Video(label="Annotated clip", visible=False, interactive=False)
                files = gr.Files(label="Downloads", elem_id=f"{kind}-files")
        shown = [picture, line, table, status]
        begin.click(
            partial(self._annotate, video=video),
            [upload, prompts, models, told, floor, threshold, visit],
            [visit, status, command, picture, line, table, frame],
            concurrency_id="job",
            concurrency_limit=1,
            show_progress="hidden",
        )
        cancel.click(_stop, [visit], None, queue=False)  # the job itself says that it has stopped
        for slider in (threshold, frame):
            slider.change(_show, [visit, threshold, frame], shown, show_progress="hidden")
        picture.select(_reject, [visit, threshold, frame], shown, show_progress="hidden")
        undo.click(_undo, [visit, threshold, frame], shown, show_progress="hidden")
        fetch.click(_fetch, [visit, threshold], [clip, files, status])

    def _annotate(
        self,
        upload: str | None,
        prompts: str,
        models: str,
        told: str,
        floor: float,
        threshold: float,
        visit: Visit | None,
        *,
        video: bool,
    ) -> Iterator[tuple[Any, ...]]:
        """What comes of a click: how far it is, then the results; a sentence where it cannot be."""
        nothing = [gr.skip()] * 5
        if visit is None:
            visit = Visit(Path(tempfile.mkdtemp(dir=self._root)))
        visit.results = None
        try:
            if upload is None:
                raise MediaError(f"Choose a {'clip' if video else 'picture'} first.")
            keys = [f"ground.floor={floor:g}", *([f"track.prompt={told}"] if video else [])]
            asked = Asked(Path(upload), prompts, models, threshold, tuple(keys))
            if video:
                self._check_length(asked.upload)
            job = visit.job = Job(asked, visit.folder)
            yield visit, "Loading the models ...", asked.shown, *nothing[1:]
            for line in job.lines():
                yield visit, _escaped(line), asked.shown, *nothing[1:]
            visit.results = Results.read(job.run)
        except AnnotateError as error:
            complain(f"playground: {error}")
            yield visit, f"**{_escaped(str(error))}**", gr.skip(), None, None, [], gr.skip()
            return
        results = visit.results
        picture, line_image, rows, said = _show(visit, threshold, 0)
        last = len(results.records) - 1
        slider = gr.Slider(maximum=max(1, last), value=0, visible=results.is_video)
        yield visit, said, asked.shown, picture, line_image, rows, slider

    def _check_length(self, clip: Path) -> None:
        frames = frames_promised(Item(clip.name, clip, "video"))
        if frames > self._max_frames:
            raise MediaError(
                f"This clip has {frames:,} frames, the page takes {self._max_frames:,} "
                "(playground.max_frames). For longer ones use `annotate dataset=...`."
            )


def _show(visit: Visit | None, threshold: float, frame: float) -> tuple[Any, ...]:
    """The stored results at a threshold: picture, time-line, table, and how much there is."""
    if visit is None or visit.results is None:
        return gr.skip(), gr.skip(), gr.skip(), gr.skip()
    results = visit.results
    at = min(int(frame), len(results.records) - 1)
    line: Image | None = results.timeline(threshold) if results.is_video else None
    return (
        results.drawn(at, threshold),
        gr.Image(value=line, visible=results.is_video),
        results.table(threshold),
        _escaped(results.said(threshold)),
    )


def _reject(
    visit: Visit | None, threshold: float, frame: float, event: gr.SelectData
) -> tuple[Any, ...]:
    """A click on an object of the result rejects it."""
    if visit is not None and visit.results is not None:
        x, y = event.index
        at = min(int(frame), len(visit.results.records) - 1)
        visit.results = visit.results.reject(at, threshold, (float(x), float(y)))
    return _show(visit, threshold, frame)


def _undo(visit: Visit | None, threshold: float, frame: float) -> tuple[Any, ...]:
    if visit is not None and visit.results is not None:
        visit.results = visit.results.undo()
    return _show(visit, threshold, frame)


def _fetch(visit: Visit | None, threshold: float) -> Iterator[tuple[Any, ...]]:
    if visit is None or visit.results is None:
        yield gr.skip(), gr.skip(), "**Annotate something first.**"
        return
    results = visit.results
    yield gr.skip(), gr.skip(), "Drawing and exporting ..."
    try:
        drawn = results.render(threshold)
        zips = export(results.run.path, threshold)
    except AnnotateError as error:
        yield gr.skip(), gr.skip(), f"**{_escaped(str(error))}**"
        return
    clip = gr.Video(value=str(drawn), visible=results.is_video)
    decided = sorted(results.run.reviews_dir.glob("*.parquet"))
    files = [str(path) for path in (drawn, *zips, *decided)]
    yield clip, files, _escaped(results.said(threshold))


def _stop(visit: Visit | None) -> None:
    if visit is not None and visit.job is not None:
        visit.job.cancel()


def _forget(visit: Visit | None) -> None:
    if visit is not None:
        visit.close()


def _escaped(text: str) -> str:
    """As it stands, in Markdown: what a file or a class is called is no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|<>~" else c for c in text)
