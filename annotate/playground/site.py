"""Where the page is served: on one address, to whoever has the password, and from nowhere else."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from annotate.config.settings import PlaygroundCommand, PlaygroundSettings
from annotate.errors import ConfigError
from annotate.playground import class_text
from annotate.playground.engine import Engine
from annotate.playground.offered import offered
from annotate.playground.page import Page
from annotate.playground.words import Words
from annotate.record.run_folder import Run
from annotate.runner.interrupt import SIGNALS
from annotate.runner.terminal import say

# A browser asks nobody else: Gradio's page would fetch fonts and say what it is used for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' "
    "data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'"
)
GRACE_S = 2  # for requests that are being answered, when it ends
FONTS = ["system-ui", "sans-serif"]


def application(page: Page) -> FastAPI:
    """The page as an application."""
    settings = page.command.playground
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(_Policy)
    auth = (settings.user, settings.password) if settings.password else None
    made: FastAPI = gr.mount_gradio_app(
        app,
        page.blocks().queue(max_size=20),
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        auth=auth,
        allowed_paths=[str(page.root)],
        max_file_size=settings.max_mb << 20,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"]),
    )
    return made


def serve(root: Path, command: PlaygroundCommand, run: Run | None, words: Words) -> None:
    """Serve it until it is interrupted; what visitors make lies in the folder `root`.

    Raises ConfigError where it cannot listen at the address, PromptError for a bad class list.
    """
    engine, settings, prompts = Engine(), command.playground, _prompts(command, run)
    with _listening(settings) as listening, ThreadPoolExecutor(1) as pool:
        known = pool.submit(offered, command, run)
        shown = words.value("dataset") or "FOLDER"
        page = Page(root, command, words.of_jobs, prompts, known, run, shown, engine)
        engine.start()
        try:
            # Errors of what visitors do are told by Gradio; uvicorn's own are of its end, where
            # it breaks off answers that would stream for ever.
            config = uvicorn.Config(
                application(page), log_level="critical", timeout_graceful_shutdown=GRACE_S
            )
            say(f"open http://{settings.host}:{settings.port} in a browser; Ctrl+C ends it")
            # It ends at a signal, and then hands it on, into the midst of its own end.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            uvicorn.Server(config).run([listening])
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


def _prompts(command: PlaygroundCommand, run: Run | None) -> str:
    """The class list that the page begins with; that of the demo is there only with the demo."""
    if command.prompts is not None and command.dataset.kind != "demo":
        return class_text.text_of(command.prompts)
    return class_text.listed(run.classes) if run is not None else ""


class _Policy:
    """Adds the policy to every answer; plain ASGI, which streams as it did."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, answered)
