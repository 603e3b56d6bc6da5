"""An earlier export, which a new one takes the place of: what people changed in it is not lost.

What was written is noted beside it, in `exports/.<name>.json`: size and time of every file, and a
digest of those that are no pictures. While one takes the place of another there are two notes, so
that whichever is there when the process is killed is known again. A folder in which anything
differs (a corrected label, weights of a training, a file that was removed) is kept whole, beside
the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

from annotate.store import atomic

Noted = tuple[int | str, ...]  # size, time and digest

PICTURE = ""  # in the place of a digest: the size tells enough
LINKED = "linked"  # likewise: the file is one of the dataset's as well
CACHES = frozenset({".cache"})  # trainers write these, and make them again


def note_next(written: Path, folder: Path, is_picture: Callable[[str], bool]) -> None:
    """Note what an export holds that is about to take the place of another. StorageError."""
    said = {
        name: [*_seen(path), _as_picture(path) if is_picture(name) else _digest(path)]
        for name, path in _files(written)
    }
    atomic.write_text(_next_path(folder), json.dumps(said, ensure_ascii=False))


def note_placed(folder: Path) -> None:
    """Say that it has taken its place."""
    _next_path(folder).replace(_note_path(folder))


def changes(folder: Path) -> list[str]:
    """The files of an export that are not as they were written, by name.

    Where nothing was noted, as by earlier versions, every file may have been changed.
    """
    if not folder.is_dir():
        return []
    found = dict(_files(folder))
    notes = filter(None, map(_noted, (_note_path(folder), _next_path(folder))))
    against = [_differing(found, noted) for noted in notes]
    return sorted(min(against, key=len, default=found))


def _noted(path: Path) -> dict[str, Noted] | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): tuple(seen) for name, seen in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _differing(found: Mapping[str, Path], noted: Mapping[str, Noted]) -> set[str]:
    changed = {name for name, path in found.items() if not _same(path, noted.get(name))}
    return changed | (noted.keys() - found.keys())


def place_beside(folder: Path) -> Path:
    """Where an export that was changed is kept: `coco-kept-1`, `coco-kept-2`, ..."""
    places = (folder.with_name(f"{folder.name}-kept-{number}") for number in count(1))
    return next(place for place in places if not place.exists())


def _same(path: Path, noted: Noted | None) -> bool:
    if noted is None or len(noted) != 3:
        return False
    if noted[2] == LINKED and path.lstat().st_nlink > 1:  # what it holds is not only here
        return True
    if _seen(path)[0] != noted[0]:
        return False
    return _seen(path)[1] == noted[1] or noted[2] in (PICTURE, LINKED) or _digest(path) == noted[2]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        if (path.is_symlink() or path.is_file()) and path.suffix not in CACHES:
            yield path.relative_to(folder).as_posix(), path


def _seen(path: Path) -> tuple[int, int]:
    stat = path.lstat()
    return stat.st_size, stat.st_mtime_ns


def _as_picture(path: Path) -> str:
    return LINKED if path.lstat().st_nlink > 1 else PICTURE


def _digest(path: Path) -> str:
    if path.is_symlink():
        return PICTURE
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _note_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.json")


def _next_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.next.json")
