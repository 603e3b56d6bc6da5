"""What a source file looked like when its record was made, to see when it has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from annotate.data.types import Item
from annotate.discover.files import numbered_images
from annotate.store import atomic

# Bytes, and when last written in ns, or a store's mark of the content; None: it could not be seen.
Fingerprint = tuple[int, int | str] | None


def fingerprint(item: Item) -> Fingerprint:
    """Size and time of a file; of a folder of frames, their sum and the newest."""
    if item.remote is not None:
        return item.remote.seen
    try:
        paths = numbered_images(item.path) if item.path.is_dir() else (item.path,)
        seen = [path.stat() for path in paths]
    except OSError:
        return None
    return sum(s.st_size for s in seen), max((s.st_mtime_ns for s in seen), default=0)


def write(folder: Path, part: str, made: Mapping[str, Fingerprint]) -> None:
    """Note the fingerprints of a part's items, by name. To be written before the part."""
    atomic.write_text(folder / f"{part}.json", json.dumps(dict(made), ensure_ascii=False))


def read(folder: Path, parts: Mapping[Path, Iterable[str]]) -> dict[str, Fingerprint]:
    """The fingerprints of the items of each part, as far as they are known."""
    known: dict[str, Fingerprint] = {}
    for part, items in parts.items():
        try:
            noted = json.loads((folder / f"{part.stem}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # of a run folder put together by hand: taken as they are
            continue
        for name in set(items) & noted.keys():
            known[name] = tuple(noted[name]) if noted[name] else None
    return known
