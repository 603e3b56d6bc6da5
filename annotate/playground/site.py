"""Where the page is served: on one address, to whoever has the password, and from nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from annotate.config.settings import PlaygroundSettings
from annotate.playground.page import Page

# A browser asks nobody else: Gradio's page would fetch fonts and say what it is used for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' "
    "data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'"
)
GRACE_S = 2  # for requests that are being answered, when it ends
FONTS = ["system-ui", "sans-serif"]


def application(page: Page, settings: PlaygroundSettings, root: Path) -> FastAPI:
    """The page as an application."""
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
        allowed_paths=[str(root)],
        max_file_size=settings.max_mb << 20,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"]),
    )
    return made


def serve(page: Page, settings: PlaygroundSettings, root: Path) -> None:
    """Serve it until it is interrupted."""
    uvicorn.run(
        application(page, settings, root),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
    )


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
