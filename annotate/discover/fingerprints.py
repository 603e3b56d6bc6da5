"""What a source file looked like when its record was made, to see when it has changed since."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.data.types import Item
from annotate.discover.files import numbered_images
from annotate.store import atomic

log = logging.getLogger(__name__)

# Bytes, and when last written in ns, or a store's mark of the content; of a folder of frames also a
# digest of what is so of each. None: it could not be seen.
Fingerprint = tuple[int, int | str] | tuple[int, int, str] | None

AT_ONCE = 8  # files that are read
MOST_READ = 16 << 30  # bytes; of what is larger the time decides


@dataclass(frozen=True, slots=True)
class Noted:
    """What is kept of a file: how it looked, and a digest of its bytes ("": not known)."""

    seen: Fingerprint
    content: str = ""


def fingerprint(item: Item) -> Fingerprint:
    """Size and time of a file; of a folder of frames their sum, the newest, and a digest of all."""
    if item.remote is not None:
        return item.remote.seen
    try:
        if not item.path.is_dir():
            of_file = item.path.stat()
            return of_file.st_size, of_file.st_mtime_ns
        paths = numbered_images(item.path)
        seen = [(path.name, s.st_size, s.st_mtime_ns) for path in paths if (s := path.stat())]
    except OSError:
        return None
    # Frames that change places have the same sum.
    digest = hashlib.blake2b(json.dumps(seen).encode(), digest_size=16).hexdigest()
    return sum(size for _, size, _ in seen), max((t for *_, t in seen), default=0), digest


def content(item: Item) -> str:
    """A digest of the bytes of a file, or of a folder's frames in their order; "" if unreadable.

    A store says by itself which content a file has. Pipes and devices have none.
    """
    if item.remote is not None:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    try:
        paths = numbered_images(item.path) if item.path.is_dir() else (item.path,)
        if sum(path.stat().st_size if path.is_file() else math.inf for path in paths) > MOST_READ:
            return ""
        for path in paths:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    except OSError:
        return ""
    return digest.hexdigest()


def noted(items: Sequence[Item], seen: Mapping[str, Fingerprint]) -> dict[str, Noted]:
    """What is to be kept of items, by name; their bytes are read several files at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = pool.map(content, items)
        return {i.name: Noted(seen.get(i.name), c) for i, c in zip(items, contents, strict=True)}


def same(item: Item, seen: Fingerprint, noted: Noted) -> bool:
    """Whether a file is still the one that was noted: looks the same, or has the same bytes."""
    before = noted.seen
    if seen is None or before is None:
        return seen == before
    if seen[: len(before)] == before:  # of folders, earlier versions noted no digest
        return True
    return seen[0] == before[0] and noted.content != "" and content(item) == noted.content


def write(folder: Path, part: str, made: Mapping[str, Noted]) -> None:
    """Note how the items of a part look, by name. To be written before the part."""
    said = {name: {"seen": noted.seen, "content": noted.content} for name, noted in made.items()}
    atomic.write_text(folder / f"{part}.json", json.dumps(said, ensure_ascii=False))


def read(folder: Path, parts: Mapping[Path, Iterable[str]]) -> dict[str, Noted]:
    """What is noted of the items of each part, as far as it is known."""
    known: dict[str, Noted] = {}
    for part, items in parts.items():
        path = folder / f"{part.stem}.json"
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            known |= {name: _noted(said[name]) for name in set(items) & said.keys()}
        except OSError:  # of a run folder put together by hand: taken as they are
            continue
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            log.warning("%s: damaged; the files of %s are taken as they are", path, part.name)
    return known


def _noted(said: Any) -> Noted:
    """Earlier versions wrote the fingerprint alone."""
    seen, content = (said["seen"], said["content"]) if isinstance(said, dict) else (said, "")
    if not isinstance(content, str) or not isinstance(seen, (list, type(None))):
        raise TypeError(seen)
    return Noted(tuple(seen) if seen else None, content)
