"""A small HTTP server for JSON: limits, basic authentication, sentences for what is wrong."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from annotate.config.settings import ServeSettings
from annotate.errors import AnnotateError, ConfigError
from annotate.runner.terminal import complain

log = logging.getLogger(__name__)

IDLE_S = 60  # after which a connection that says nothing is closed
FAULT = "a fault of annotate; what it prints has more"
MOST_DIGITS = 18  # of the length of a request
Routes = Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Mapping[str, Any]]]
"""What answers a method and a path, given what the JSON of a request holds."""


def tell_fault(where: str) -> None:
    """Print the error that is being handled: nobody foresaw it, and whoever asked gets a sentence.

    In what is printed, for a server has no log file, and warnings alone are printed of what is
    logged.
    """
    for line in [f"error: {where}", *traceback.format_exc().splitlines()]:
        complain(line)


def check_address(host: str, password: str | None, key: str) -> None:
    """ConfigError where strangers could ask it: it listens to others, and has no password.

    `key` is the group of settings that has both.
    """
    if password or is_loopback(host):
        return
    raise ConfigError(
        f"{key}.host={host}: others reach it there; set a password in "
        f"ANNOTATE_{key.upper()}_PASSWORD (or {key}.password), or leave {key}.host=127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine is called so."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False


def make_server(settings: ServeSettings, routes: Routes) -> ThreadingHTTPServer:
    """A server that is bound and not yet at work. Raises ConfigError."""
    check_address(settings.host, settings.password, "serve")
    expected = None
    if settings.password:
        pair = f"{settings.user}:{settings.password}".encode()
        expected = b"Basic " + base64.b64encode(pair)
    handler = type(
        "Handler",
        (_Handler,),
        {"routes": routes, "expected": expected, "max_bytes": settings.max_mb << 20},
    )
    try:
        return ThreadingHTTPServer((settings.host, settings.port), handler)
    except OSError as error:
        raise ConfigError(
            f"serve.host={settings.host} serve.port={settings.port}: cannot listen there "
            f"({error.strerror or error})"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    routes: Routes
    expected: bytes | None
    max_bytes: int
    timeout = IDLE_S
    protocol_version = "HTTP/1.1"
    server_version = "annotate"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._is_known():  # before a byte of it is read
            self._answer("POST", {})
        elif not (length.isascii() and length.isdigit() and len(length) <= MOST_DIGITS):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a request needs a Content-Length")
        elif int(length) > self.max_bytes:
            said = (
                f"a request of {int(length):,} bytes; at most serve.max_mb={self.max_bytes >> 20}"
            )
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
        else:
            body = self.rfile.read(int(length))
            try:
                content = json.loads(body or b"{}")
            except (ValueError, RecursionError):
                content = None
            if isinstance(content, dict):
                self._answer("POST", content)
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "a request must be a JSON object")

    def _answer(self, method: str, content: Mapping[str, Any]) -> None:
        path = self.path.partition("?")[0].rstrip("/") or "/"
        route = self.routes.get((method, path))
        if not self._is_known():
            self._refuse(HTTPStatus.UNAUTHORIZED, "a user and a password are needed")
        elif route is None:
            known = ", ".join(sorted(f"{m} {p}" for m, p in self.routes))
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing answers {method} {path}; known: {known}")
        else:
            try:
                self._send(HTTPStatus.OK, route(content))
            except AnnotateError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except (BrokenPipeError, ConnectionResetError):
                log.warning("%s %s: whoever asked is gone", method, path)
            except Exception:  # one request must not end the service
                tell_fault(f"{method} {path}")
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)

    def _is_known(self) -> bool:
        said = self.headers.get("Authorization", "").encode("utf-8", "replace")
        return self.expected is None or hmac.compare_digest(said, self.expected)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what is left of the request is not read
        self._send(status, {"error": why})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses, such as a method nobody has, as JSON too."""
        status = HTTPStatus(code)
        self._refuse(status, f"{message or status.phrase}: this is no request that is answered")

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:  # else a client may ask on where nobody listens
            self.send_header("Connection", "close")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="annotate"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.info("%s %s", self.address_string(), format % args)
