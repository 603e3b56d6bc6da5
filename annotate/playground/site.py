"""Where the page is served: on one address, to whoever has the password, and from nowhere else."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from annotate.config.settings import PlaygroundCommand, PlaygroundSettings
from annotate.errors import ConfigError
from annotate.playground import class_text
from annotate.playground.engine import Engine
from annotate.playground.guard import Guard
from annotate.playground.offered import offered
from annotate.playground.page import Page
from annotate.playground.words import Words
from annotate.record.run_folder import Run
from annotate.runner.interrupt import SIGNALS
from annotate.runner.terminal import say
from annotate.serve.server import is_loopback

GRACE_S = 2  # for requests that are being answered, when it ends
FONTS = ["system-ui", "sans-serif"]


def application(page: Page, uploads: Path) -> Guard:
    """The page as an ASGI application; `uploads` is the folder that Gradio keeps files in."""
    settings, blocks = page.command.playground, page.blocks().queue(max_size=20)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    auth = (settings.user, settings.password) if settings.password else None
    made = gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        auth=auth,
        max_file_size=settings.max_mb << 20,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"]),
    )
    blocks.has_launched = True  # else, where it is mounted, it takes any path for an upload
    return Guard(made, uploads=uploads, on_loopback=is_loopback(settings.host))


def serve(
    root: Path, uploads: Path, command: PlaygroundCommand, run: Run | None, words: Words
) -> None:
    """Serve it until it is interrupted; what visitors make lies in the folder `root`.

    Raises ConfigError where it cannot listen at the address, or there is no such dataset;
    PromptError for a bad class list.
    """
    engine, settings, prompts = Engine(), command.playground, _prompts(command, run, words)
    with _listening(settings) as listening, ThreadPoolExecutor(1) as pool:
        known = pool.submit(offered, command, run)
        if words.value("dataset") or run is not None:  # the demo, which is made, may take its time
            known.result()
        shown = words.value("dataset") or "FOLDER"
        page = Page(root, command, words.of_jobs, prompts, known, run, shown, engine)
        engine.start()
        try:
            # Errors of what visitors do are told by Gradio; uvicorn's own are of its end, where
            # it breaks off answers that would stream for ever.
            server = uvicorn.Server(
                uvicorn.Config(
                    application(page, uploads),
                    log_level="critical",
                    timeout_graceful_shutdown=GRACE_S,
                )
            )

            def end(number: int, frame: object) -> None:
                server.should_exit = True

            # uvicorn has handlers of its own, and in the end hands signals on to those before.
            for number in SIGNALS:
                signal.signal(number, end)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            say(f"open http://{host}:{settings.port} in a browser; Ctrl+C ends it")
            server.run([listening])
        finally:
            engine.close()


def _listening(settings: PlaygroundSettings) -> socket.socket:
    """Before anything takes long: the port may be another's. Raises ConfigError."""
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"playground.host={host} playground.port={port}: cannot listen there "
            f"({error.strerror or error})"
        ) from error


def _prompts(command: PlaygroundCommand, run: Run | None, words: Words) -> str:
    """The class list that the page begins with; that of the demo is there only with the demo."""
    if words.value("prompts"):
        return class_text.text_of(command.prompts)
    if run is not None:
        return class_text.listed(run.classes)
    known = command.prompts is not None and command.dataset.kind != "demo"
    return class_text.text_of(command.prompts) if known else ""
