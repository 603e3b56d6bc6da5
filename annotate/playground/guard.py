"""What stands before the page: who may ask, for which files, and what browsers are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from annotate.serve.server import is_loopback

# A browser asks nobody else: Gradio's page would fetch fonts and say what it is used for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' "
    "data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'"
)
HEADERS = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
UNUSED = ("/deep_link", "/proxy=", "/component_server")  # of Gradio's routes, and not needed
FORMS = (b"multipart/form-data", b"application/x-www-form-urlencoded")  # uploads, and the login
MOST_BYTES = 4 << 20  # of a request that is no upload; a class list is a small part of it


class Guard:
    """An ASGI app that refuses with 403 what the app behind it must not see.

    A request that names a file must name one that was uploaded: Gradio would copy any other of
    this machine, or fetch it from wherever it is said to be.
    """

    def __init__(self, app: Any, *, uploads: Path, on_loopback: bool) -> None:
        """`uploads`: the folder that uploads are in. `on_loopback`: whether others cannot reach it.

        Then only the names of this machine are taken: a page elsewhere may have its own name lead
        here.
        """
        self._app, self._uploads, self._on_loopback = app, uploads.resolve(), on_loopback

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, or one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        allowed = self._names_us(headers) and not any(u in scope["path"] for u in UNUSED)
        if allowed and _is_json(scope, headers):
            body = await _body(receive)
            allowed = body is not None and self._files_are_uploads(body)
            receive = _again(body or b"", receive)
        if not allowed:
            await send({"type": "http.response.start", "status": 403, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b"refused"})
            return

        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self._app(scope, receive, answered)

    def _names_us(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        try:
            if origin and urlsplit(origin).netloc != host:
                return False
            return not self._on_loopback or is_loopback(urlsplit(f"//{host}").hostname or "")
        except ValueError:  # what no name of a host can be
            return False

    def _files_are_uploads(self, body: bytes) -> bool:
        if not body:
            return True
        try:
            paths = list(_paths(json.loads(body)))
            return all(Path(p).resolve().is_relative_to(self._uploads) for p in paths)
        except (ValueError, TypeError, OSError, RecursionError):
            return False


def _is_json(scope: Any, headers: dict[bytes, bytes]) -> bool:
    """Whatever it says of itself, a body that is no form is read as JSON."""
    is_form = headers.get(b"content-type", b"").strip().lower().startswith(FORMS)
    return scope["method"] not in ("GET", "HEAD", "OPTIONS") and not is_form


def _paths(value: Any) -> Iterator[str]:
    """Whatever a request calls the path of a file, however deep in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "path" and inner is not None:
                yield inner
            yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _body(receive: Any) -> bytes | None:
    """None where it is too long, or does not come."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that gives a body once more, then what else comes."""
    given = False

    async def once() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
