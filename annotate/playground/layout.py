"""What stands where on a tab of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import gradio as gr

from annotate.data.types import Media

PRESETS = ("tiny", "fast", "balanced", "best")
WORDS = (
    "A class a line; `name: phrase one, phrase two` for synonyms; or yaml. The preset `tiny` knows "
    "coloured shapes alone."
)
PICTURE_COLUMNS = ["number", "class", "phrase", "score", "area, px"]
CLIP_COLUMNS = ["track", "class", "score", "frames", "first frame"]
BUTTONS: Any = ["download", "fullscreen"]  # none that shares it with others


class Click(StrEnum):
    """What a click on the result does."""

    CORRECT = "rejects an object, or adds one where there is none"
    EXAMPLE = "makes the object an example of its class"
    MORE = "is one more point on the object added last"
    LESS = "is a point beside the object added last"


@dataclass(frozen=True, slots=True)
class Tab:
    """The parts of one tab."""

    upload: gr.File
    pick: gr.Dropdown
    prompts: gr.Textbox
    models: gr.Dropdown
    told: gr.Radio
    floor: gr.Slider
    begin: gr.Button
    cancel: gr.Button
    command: gr.Textbox
    status: gr.Markdown
    picture: gr.Image
    threshold: gr.Slider
    frame: gr.Slider
    click: gr.Radio
    new_class: gr.Dropdown
    line: gr.Image
    table: gr.Dataframe
    undo: gr.Button
    save: gr.Button
    fetch: gr.Button
    clip: gr.Video
    files: gr.Files
    ticket: gr.Textbox  # unseen: changes where a click is for the models


def tab_of(
    media: Media,
    *,
    prompts: str,
    models: str,
    told: str,
    threshold: float,
    floor: float,
    saves: str,
) -> Tab:
    """A tab. `saves`: the run that corrections can be saved to, "" for none."""
    video = media == "video"
    kind = "clip" if video else "picture"

    def named(part: str) -> str:
        return f"{kind}-{part}"

    with gr.Tab(kind.capitalize()), gr.Row():
        with gr.Column(scale=1):
            upload = gr.File(label=kind.capitalize(), height=130, elem_id=named("upload"))
            pick = gr.Dropdown(
                [], label="or take", allow_custom_value=True, visible=False, elem_id=named("pick")
            )
            words = gr.Textbox(
                prompts, label="Classes", lines=5, max_lines=20, info=WORDS,
                elem_id=named("classes"),
            )  # fmt: skip
            preset = gr.Dropdown(
                list(PRESETS), value=models, label="Models", elem_id=named("models")
            )
            prompt = gr.Radio(
                ["mask", "box", "point"], value=told, label="How SAM 2 is told of a new object",
                visible=video, elem_id=named("told"),
            )  # fmt: skip
            least = gr.Slider(
                0.01, 0.5, floor, step=0.01, label="Keep candidates from score (ground.floor)"
            )
            with gr.Row():
                begin = gr.Button("Annotate", variant="primary", elem_id=named("run"))
                cancel = gr.Button("Stop", elem_id=named("stop"))
            command = gr.Textbox(
                label="The same over a whole dataset", interactive=False, lines=2,
                buttons=["copy"], elem_id=named("command"),
            )  # fmt: skip
        with gr.Column(scale=2):
            status = gr.Markdown("", min_height=28, elem_id=named("status"))
            picture = gr.Image(
                label="Result", interactive=False, format="webp", buttons=BUTTONS,
                elem_id=named("result"),
            )  # fmt: skip
            frame = gr.Slider(0, 1, 0, step=1, label="Frame", visible=False, elem_id=named("frame"))
            above = gr.Slider(
                0.0, 1.0, threshold, step=0.01, label="Threshold", elem_id=named("threshold")
            )
            with gr.Row():
                click = gr.Radio(
                    [choice.value for choice in Click], value=Click.CORRECT.value,
                    label="A click on the result", scale=3, min_width=320, elem_id=named("click"),
                )  # fmt: skip
                new_class = gr.Dropdown(
                    [], label="Class of what is added", scale=1, elem_id=named("new-class"),
                    allow_custom_value=True,
                )  # fmt: skip
            line = gr.Image(
                label="Tracks over time", interactive=False, visible=False, buttons=BUTTONS,
                elem_id=named("line"),
            )  # fmt: skip
            table = gr.Dataframe(
                headers=CLIP_COLUMNS if video else PICTURE_COLUMNS, interactive=False,
                label="Tracks" if video else "Instances", elem_id=named("table"),
            )  # fmt: skip
            with gr.Row():
                undo = gr.Button("Take the last click back", elem_id=named("undo"))
                save = gr.Button(
                    f"Save corrections to {saves}", visible=bool(saves), elem_id=named("save")
                )
                fetch = gr.Button("Make downloads", elem_id=named("fetch"))
            clip = gr.Video(
                label="Annotated clip", visible=False, interactive=False, elem_id=named("played")
            )
            files = gr.Files(label="Downloads", visible=False, elem_id=named("files"))
            ticket = gr.Textbox(visible="hidden")
    return Tab(
        upload, pick, words, preset, prompt, least, begin, cancel, command, status, picture, above,
        frame, click, new_class, line, table, undo, save, fetch, clip, files, ticket,
    )  # fmt: skip


def escaped(text: str) -> str:
    """As it stands, in Markdown: what a file or a class is called is no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|<>~$&" else c for c in text)


def refusal(text: str) -> str:
    """Why something is not done, as the status line shows it."""
    return f"**{escaped(text)}**"


def paragraphs(texts: Sequence[str]) -> str:
    """The status line, of several sentences that stand apart."""
    return "\n\n".join(map(escaped, texts))
