"""A model hub on loopback: as much of the Hugging Face hub's protocol as its client library uses.

Serves folders under repository ids, one commit each, records every request, and misbehaves on
demand.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 100_000  # from here on a file is stored as the hub stores weights: named by sha256


@dataclass
class Hub:
    """What is served, what was asked, and what goes wrong."""

    repos: dict[str, Path] = field(default_factory=dict)  # repository id -> folder
    gated: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)  # method, path
    fail: dict[str, tuple[int, int]] = field(default_factory=dict)  # file -> status, times left
    cut: dict[str, int] = field(default_factory=dict)  # file -> bytes after which it hangs up
    short: dict[str, int] = field(default_factory=dict)  # file -> bytes it claims and sends
    resumed: list[int] = field(default_factory=list)  # bytes that clients had already
    url: str = ""

    def commit(self, repo: str) -> str:
        return hashlib.sha1(repo.encode()).hexdigest()

    def downloads(self, name: str) -> int:
        """How often the body of a file was asked for."""
        return sum(m == "GET" and "/resolve/" in p and p.endswith(name) for m, p in self.requests)


@contextmanager
def serve(**repos: Path) -> Iterator[Hub]:
    """A running hub; `owner__name=folder` is served as `owner/name`."""
    hub = Hub({name.replace("__", "/", 1): folder for name, folder in repos.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: `hub.requests` is the log."""

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path)
            file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            repo, revision = (api[1], api[3]) if api else (file[1], file[2]) if file else ("", "")
            name = file[3] if file else (api[2] if api else "")
            if repo not in hub.repos:  # as for a private repository without a token
                return self._refuse(401, "RepoNotFound")
            if repo in hub.gated:
                return self._refuse(403, "GatedRepo")
            if revision not in ("main", hub.commit(repo)):
                return self._refuse(404, "RevisionNotFound")
            status, left = hub.fail.get(name, (0, 0))
            if left > 0:
                hub.fail[name] = (status, left - 1)
                return self._refuse(status, None)
            if api:
                listing = _tree(hub.repos[repo]) if name == "tree" else _info(hub, repo)
                return self._send(
                    json.dumps(listing).encode(), {"Content-Type": "application/json"}
                )
            target = hub.repos[repo] / name
            if not target.is_file():
                return self._refuse(404, "EntryNotFound")
            self._send_file(repo, name, target.read_bytes(), body=body)

        def _send_file(self, repo: str, name: str, content: bytes, *, body: bool) -> None:
            etag = _etag(content)
            content = content[: hub.short.get(name, len(content))]
            headers = {
                "ETag": f'"{etag}"',
                "X-Repo-Commit": hub.commit(repo),
                "Accept-Ranges": "bytes",
            }
            span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(span[1]) if span else 0
            if span:
                hub.resumed.append(start)
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            end = min(len(content), hub.cut.get(name, len(content)))
            self.send_response(206 if span else 200)
            for key, value in {**headers, "Content-Length": str(len(content) - start)}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content[start:end])
                if end < len(content):
                    self.close_connection = True

        def _send(self, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def _refuse(self, status: int, code: str | None) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", f"{code} on the test hub")
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _info(hub: Hub, repo: str) -> dict[str, Any]:
    files = [{"rfilename": entry["path"]} for entry in _tree(hub.repos[repo])]
    return {"id": repo, "modelId": repo, "sha": hub.commit(repo), "siblings": files, "tags": []}


def _tree(folder: Path) -> list[dict[str, Any]]:
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
        if len(content) >= LARGE_BYTES:
            entry["lfs"] = {"oid": _etag(content), "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries


def _etag(content: bytes) -> str:
    """As on the hub: a large file's sha256, a small file's git blob id."""
    if len(content) >= LARGE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
