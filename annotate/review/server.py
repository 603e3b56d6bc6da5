"""FiftyOne's server with a guard before it: for this machine's own browser, and these datasets.

As it comes, the server gives any file of the disk to whoever reaches its port, and lets any web
page ask for it. Here a request must name the server itself as its host and, where a browser says
which page it comes from, come from the server's own page; media are those of the datasets that are
named, and nothing else.

    python -m annotate.review.server --port 5151 --address 127.0.0.1 --dataset NAME ... \
        --start /datasets/NAME
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

MEDIA = "/media"
# Has browsers load and ask nothing from anywhere else: the page names fonts and counts of visits.
NOWHERE_ELSE = (
    b"content-security-policy",
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
)


class Guard:
    """An ASGI app that refuses with 403 what the app behind it must not see."""

    def __init__(
        self, app: App, hosts: Collection[str], shows: Callable[[str], bool], start: str
    ) -> None:
        """`hosts` are `name:port`; `shows` tells whether a file may be given away.

        `start` is where a browser is sent that asks for no page in particular.
        """
        self._app, self._shows, self._start = app, shows, start.encode()
        self._hosts = {host.encode() for host in hosts}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """One request, or one connection."""
        if scope["type"] in ("http", "websocket") and not await self._allows(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"refused"})
            return
        if scope["type"] == "http" and scope["path"] == "/":
            there = [(b"location", self._start)]
            await send({"type": "http.response.start", "status": 307, "headers": there})
            await send({"type": "http.response.body", "body": b""})
            return

        async def secluded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), NOWHERE_ELSE]}
            await send(message)

        await self._app(scope, receive, secluded)

    async def _allows(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        origins = [value for name, value in scope["headers"] if name.lower() == b"origin"]
        if len(hosts) != 1 or hosts[0] not in self._hosts or not self._origins.issuperset(origins):
            return False
        if not scope["path"].rstrip("/").endswith(MEDIA):
            return True
        asked = parse_qs(scope.get("query_string", b"").decode("utf-8", "replace"))
        paths = asked.get("filepath", [])
        return len(paths) == 1 and await asyncio.to_thread(self._shows, paths[0])


def shows_media_of(names: Collection[str]) -> Callable[[str], bool]:
    """Whether a file is the picture or video of a sample of these FiftyOne datasets."""
    import fiftyone as fo

    samples = [fo.load_dataset(name)._sample_collection for name in names]
    return lambda path: any(s.find_one({"filepath": path}, {"_id": 1}) for s in samples)


def main() -> None:
    """Serve until the process that started this ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--dataset", action="append", required=True)
    parser.add_argument("--start", required=True)
    asked = parser.parse_args()
    os.environ.pop("FIFTYONE_DISABLE_SERVICES", None)  # as FiftyOne's own main does
    os.environ["FIFTYONE_SERVER"] = "1"

    import fiftyone  # noqa: F401 - before its server, which counts on it
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    threading.Thread(target=_end_with_input, daemon=True).start()
    hosts = [f"{name}:{asked.port}" for name in (asked.address, "localhost")]
    config = Config()
    config.bind = [f"{asked.address}:{asked.port}"]
    set_port(asked.port)
    guarded: Any = Guard(app, hosts, shows_media_of(asked.dataset), asked.start)
    asyncio.run(serve(guarded, config))


def _end_with_input() -> None:
    """End when whoever started this has: then nobody holds the other end any more."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
