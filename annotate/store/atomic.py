"""Files that are whole or not there: written beside, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from annotate.errors import StorageError

MARK = ".tmp"  # ends the name of what is not finished
FORMER = ".former"  # of a folder that a new one takes the place of


def unfinished(path: Path) -> Path:
    """A name beside `path` to write under: hidden, and shared with no other process.

    `clean` finds it again by the stem of `path`.
    """
    return path.with_name(f".{path.stem[:40]}.{uuid.uuid4().hex[:8]}{MARK}")


def publish(written: Path, path: Path) -> None:
    """Give a file that is complete its name, so that it outlives a loss of power."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)
    sync_folder(path.parent)


def publish_folder(written: Path, path: Path, keep: Path | None = None) -> None:
    """Put a folder that is complete in the place of an earlier one, which goes, or is kept there.

    `restore` brings the earlier one back where this is killed on the way.
    """
    if hasattr(os, "sync"):  # one call for what may be many thousand files
        os.sync()
    former = path.with_name(f".{path.name}{FORMER}" + ("" if keep is None else f"-{keep.name}"))
    if path.exists():
        path.rename(former)
    written.rename(path)
    sync_folder(path.parent)
    _settle(former, path)


def restore(path: Path) -> None:
    """Finish what a `publish_folder` that was killed left: no earlier folder is lost by it."""
    for former in path.parent.glob(f".{path.name}{FORMER}*"):
        if path.exists():
            _settle(former, path)
        else:
            former.rename(path)


def _settle(former: Path, path: Path) -> None:
    """Keep an earlier folder under the name that it is to have, or remove it."""
    _, _, keep = former.name.removeprefix(f".{path.name}{FORMER}").partition("-")
    if keep and former.exists():
        former.rename(path.with_name(keep))
    else:
        shutil.rmtree(former, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a loss of power."""
    if os.name == "nt":  # Windows keeps them by itself, and opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, what: str = "it") -> Iterator[Path]:
    """A name to write `path` under, which it gets when all went well, and is gone otherwise.

    Raises StorageError, which names `what` could not be written, when the disk refuses.
    """
    written = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield written
        publish(written, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot write {what} ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # mostly that there is none any more
            written.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all. Raises StorageError when the disk refuses."""
    with writing(path) as written:
        written.write_text(text, encoding="utf-8")


def remove_folder(folder: Path) -> None:
    """Remove a folder of working files, and the one it lies in when nothing else is left there."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def clean(folder: Path, stems: Iterable[str] = ("",)) -> None:
    """Remove what a writer that was killed left in a folder, under any name or those of `stems`."""
    for stem in stems:
        for left_behind in folder.glob(f".{stem}*{MARK}"):
            if left_behind.is_dir():
                shutil.rmtree(left_behind, ignore_errors=True)
            else:
                left_behind.unlink(missing_ok=True)
