"""Pictures by what a task calls them: files below a folder, uploads, urls of trusted hosts.

A server that fetches whatever it is told to would read for strangers what only it can reach, so
that nothing is read or fetched but what the settings name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from annotate.config.settings import ServeSettings
from annotate.data.printable import printable
from annotate.data.types import Depth, Image
from annotate.decode.image import read_image
from annotate.errors import MediaError, one_line

TIMEOUT_S = 30.0
SHOWN = 80  # characters of a name in a message


class PictureSource:
    """Where pictures may come from."""

    def __init__(
        self, settings: ServeSettings, max_pixels: int | None, depth: Depth = "auto"
    ) -> None:
        self._settings, self._max_pixels, self._depth = settings, max_pixels, depth
        self._max_bytes = settings.max_mb << 20
        self._folder = Path(settings.files).expanduser().resolve() if settings.files else None

    def read(self, said: str) -> Image:
        """Decode a picture. MediaError says why it cannot be had, and what to set."""
        with self._file(said) as path:
            try:
                return read_image(path, max_pixels=self._max_pixels, depth=self._depth)
            except MediaError as error:
                raise MediaError(f"{_shown(said)}: {error}") from error

    @contextmanager
    def _file(self, said: str) -> Iterator[Path]:
        try:
            url, _ = urlsplit(said), said.encode()
        except ValueError as error:  # of brackets, or with half of a character
            raise MediaError(f"{_shown(said)}: no name of a picture") from error
        if url.path.endswith("/data/local-files/") and "d" in parse_qs(url.query):
            yield self._local(said, parse_qs(url.query)["d"][0])
            return
        if url.scheme == "data":
            content = self._inline(said)
        elif url.scheme in ("http", "https"):
            content = self._fetched(said)
        elif not url.scheme and said.startswith("/"):
            content = self._fetched(urljoin(self._label_studio(said), said))
        else:
            raise MediaError(
                f"{_shown(said)}: neither a file of local storage, an upload nor a url"
            )
        with TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            yield path

    def _local(self, said: str, name: str) -> Path:
        if self._folder is None:
            raise MediaError(f"{_shown(said)}: local files are not served; set serve.files=FOLDER")
        try:
            path = (self._folder / name.lstrip("/")).resolve()
            is_there = path.is_file()
        except (OSError, ValueError) as error:  # too long, or with what no name may have
            raise MediaError(f"{_shown(said)}: no name of a file ({one_line(error)})") from error
        if not path.is_relative_to(self._folder):
            raise MediaError(f"{_shown(said)}: leaves serve.files={self._settings.files}")
        if not is_there:
            raise MediaError(
                f"{_shown(said)}: no such file below serve.files={self._settings.files}"
            )
        return path

    def _inline(self, said: str) -> bytes:
        head, _, text = said.partition(",")
        if len(text) * 3 // 4 > self._max_bytes:
            raise MediaError(f"a picture of more than serve.max_mb={self._settings.max_mb}")
        try:
            return base64.b64decode(text, validate=True) if head.endswith(";base64") else b""
        except (binascii.Error, ValueError) as error:
            raise MediaError(f"{_shown(said)}: no base64") from error

    def _label_studio(self, said: str) -> str:
        if not self._settings.label_studio:
            raise MediaError(
                f"{_shown(said)}: lies in Label Studio; set serve.label_studio=https://HOST "
                "(or LABEL_STUDIO_URL) and serve.token"
            )
        return self._settings.label_studio

    def _fetched(self, url: str) -> bytes:
        ours = urlsplit(self._settings.label_studio or "")
        to = urlsplit(url)
        own = (to.scheme, to.netloc) == (ours.scheme, ours.netloc)
        if not own and (to.hostname or "") not in self._settings.hosts:
            raise MediaError(
                f"{_shown(url)}: {to.hostname} is no host that pictures are fetched from; name "
                "those you trust in serve.hosts"
            )
        token = self._settings.token if own else None  # nobody else gets to see it
        headers = {"Authorization": f"Token {token}"} if token else {}
        content = bytearray()
        try:
            # A redirect could lead to any host.
            with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_S) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise MediaError(f"{_shown(url)}: the host answers {reply.status_code}")
                for part in reply.iter_bytes():
                    content += part
                    if len(content) > self._max_bytes:
                        raise MediaError(
                            f"{_shown(url)}: more than serve.max_mb={self._settings.max_mb}"
                        )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MediaError(
                f"{_shown(url)}: cannot be fetched ({type(error).__name__})"
            ) from error
        return bytes(content)


def _shown(said: str) -> str:
    return printable(said if len(said) <= SHOWN else f"{said[:SHOWN]}...")
