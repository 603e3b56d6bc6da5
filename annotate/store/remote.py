"""Files on S3, GCS and whatever else fsspec reaches: listed, fetched and sent, whole or not at all.

Nothing of fsspec is imported before the first url is met. Whose access keys are used, and at which
address, is said as for any other program (environment, `~/.aws`, `FSSPEC_*`): no setting of ours.
"""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from annotate.errors import ConfigError, StorageError
from annotate.store import atomic

log = logging.getLogger(__name__)

Seen = tuple[int, str]  # bytes, and the store's own mark of the content, or when it was written
T = TypeVar("T")

WAITS_S = (1.0, 2.0, 4.0)  # between tries, on top of what the libraries try themselves
# What is opened without being asked for: each leads to files and to nothing else.
PROTOCOLS = frozenset({"file", "local", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_named: set[str] = set()  # by the user, see `allow`
# Stores that show a file under its name only when all of it is there.
WRITES_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
_MARKS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
_GIVE_UP = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG)


def allow(protocols: Iterable[str]) -> None:
    """Let urls of these protocols be opened as well, for the rest of this process."""
    _named.update(protocols)


def is_url(place: object) -> TypeGuard[str]:
    """Whether a place is on a store: `s3://...`, `gs://...`, and so on.

    Raises ConfigError for urls that are not opened: of a protocol that nobody named, because some
    open archives, run code or fetch from any host, and chains of urls, which hide one in another.
    """
    if not isinstance(place, str) or "://" not in place:
        return False
    if "::" in place:
        raise ConfigError(
            f"{place!r}: urls are opened by themselves, without `::`; name the place they lead to"
        )
    protocol = re.match(r"[A-Za-z][A-Za-z0-9+.-]+(?=://)", place)
    if protocol is None:
        return False
    if protocol[0] not in PROTOCOLS | _named:
        raise ConfigError(
            f"{place!r}: {protocol[0]}:// is not opened, but {', '.join(sorted(PROTOCOLS))}; if "
            f"you trust the place, add store.protocols=[{protocol[0]}]"
        )
    return True


@dataclass(frozen=True, slots=True)
class Store:
    """What is below one url; names are relative to it, with slashes."""

    url: str

    def files(self, below: str = "", *, depth: int | None = None) -> dict[str, Seen]:
        """Every file and how it looks now; `depth` counts levels of folders, None: all.

        Where the url itself is a file, that is its one entry, named "". Raises StorageError.
        """
        files, base = _opened(self.url)
        where = f"{base}/{below}" if below else base

        def listed() -> dict[str, Any]:
            files.invalidate_cache()
            try:
                found: dict[str, Any] = files.find(where, maxdepth=depth, detail=True)
            except FileNotFoundError:
                return {}
            return found

        found = _persistently(listed, f"{self.url}: cannot list it")
        return {
            path[len(base) :].lstrip("/"): _seen(info)
            for path, info in found.items()
            if info.get("type") != "directory" and not path.endswith("/")
        }

    def look(self, name: str) -> Seen:
        """How a file looks now. Raises StorageError."""
        files, path = self._at(name)
        return _persistently(lambda: _seen(files.info(path)), self._says(name, "cannot see it"))

    def read_text(self, name: str) -> str:
        """A small text file. Raises FileNotFoundError, StorageError."""
        files, path = self._at(name)
        said = self._says(name, "cannot read it")
        return str(_persistently(lambda: files.cat_file(path), said, may_miss=True), "utf-8-sig")

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a file. Raises FileNotFoundError, StorageError."""
        files, path = self._at(name)
        said = self._says(name, "cannot read it")

        def read() -> bytes:
            return bytes(files.cat_file(path, start=0, end=size))

        return _persistently(read, said, may_miss=True)

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to `path`, whole or not at all. Raises FileNotFoundError, StorageError."""
        files, there = self._at(name)

        def fetch() -> None:
            written = atomic.unfinished(path)
            try:
                files.get_file(there, str(written))
                written.replace(path)
            finally:
                written.unlink(missing_ok=True)

        path.parent.mkdir(parents=True, exist_ok=True)
        _persistently(fetch, self._says(name, "cannot download it"), may_miss=True)

    def send(self, path: Path, name: str) -> None:
        """Copy `path` to a file of the store, whole or not at all. Raises StorageError."""
        files, there = self._at(name)
        whole = WRITES_WHOLE & set(_protocols(files))

        def send() -> None:
            if whole:
                files.put_file(str(path), there)
            else:
                folder, _, last = there.rpartition("/")
                files.put_file(str(path), f"{folder}/.{last}{atomic.MARK}")
                files.mv(f"{folder}/.{last}{atomic.MARK}", there)

        _persistently(send, self._says(name, "cannot upload it"))

    def write_text(self, name: str, text: str) -> None:
        """Write a small file in place of an earlier one. Raises StorageError."""
        files, path = self._at(name)
        said = self._says(name, "cannot write it")
        _persistently(lambda: files.pipe_file(path, text.encode()), said)

    def create(self, name: str, text: str) -> bool:
        """Write a small file unless there is one of that name; whether there was none.

        As exclusive as the store can be: S3 and GCS decide it themselves, others are asked before.
        """
        files, path = self._at(name)

        def create() -> bool:
            files.invalidate_cache()
            if files.exists(path):
                return False
            try:
                files.pipe_file(path, text.encode(), mode="create")
            except OSError as error:
                # What a refused condition is called differs; what it means is that one is there.
                if isinstance(error, FileExistsError) or files.exists(path):
                    return False
                raise
            return True

        return _persistently(create, self._says(name, "cannot write it"))

    def remove(self, name: str) -> None:
        """Remove a file; none there is as good. Raises StorageError."""
        files, path = self._at(name)

        def remove() -> None:
            with suppress(FileNotFoundError):
                files.rm_file(path)

        _persistently(remove, self._says(name, "cannot remove it"))

    def _at(self, name: str) -> tuple[Any, str]:
        files, base = _opened(self.url)
        return files, f"{base}/{name}" if name else base

    def _says(self, name: str, what: str) -> str:
        return f"{self.url}/{name}: {what}" if name else f"{self.url}: {what}"


def read_text(url: str) -> str:
    """A small text file by its own url. Raises FileNotFoundError, StorageError."""
    return Store(url).read_text("")


@cache
def _opened(url: str) -> tuple[Any, str]:
    """The file system of a url, and the url as a path on it. Raises ConfigError."""
    if not is_url(url):
        raise ConfigError(f"{url!r}: no url of a store")
    protocol = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(_needs(url, "fsspec")) from error
    # Listings are asked anew each time: others write to the store as well.
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in ("file", "local"):
        options = {"auto_mkdir": True}
    try:
        files, path = url_to_fs(url.rstrip("/"), **options)
    except ImportError as error:
        named = re.search(r"[Ii]nstall ([\w-]+)", str(error))
        raise ConfigError(_needs(url, named[1] if named else str(error))) from error
    except Exception as error:  # of whatever kind: the store cannot be had
        raise ConfigError(f"{url}: no store that can be opened ({_reason(error)})") from error
    return files, str(path).rstrip("/")


def _needs(url: str, package: str) -> str:
    extra = "'annotate[cloud]'" if package in ("fsspec", "gcsfs", "s3fs") else package
    return f"{url}: needs the package {package}; `pip install {extra}` has it"


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _persistently(act: Callable[[], T], says: str, *, may_miss: bool = False) -> T:
    """What `act` returns, tried again a few times; StorageError when it will not be.

    With `may_miss`, FileNotFoundError passes: what it means is for the caller to say.
    """
    for wait_s in (*WAITS_S, None):
        try:
            return act()
        except FileNotFoundError as error:
            if may_miss:
                raise
            raise StorageError(f"{says} ({_reason(error)})") from error
        except Exception as error:  # each store raises what it likes, and most of it passes
            refused = isinstance(error, OSError) and error.errno in _GIVE_UP
            if wait_s is None or refused or isinstance(error, PermissionError):
                raise StorageError(f"{says} ({_reason(error)})") from error
            log.info("%s (%s); trying again in %g s", says, _reason(error), wait_s)
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def _seen(info: Mapping[str, Any]) -> Seen:
    mark = next((info[key] for key in _MARKS if info.get(key) is not None), "")
    if isinstance(mark, datetime):  # one look may give a date where another gives seconds
        mark = mark.timestamp()
    return int(info.get("size") or 0), str(mark).strip('"')
