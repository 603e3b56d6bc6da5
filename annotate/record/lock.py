"""One writer per run folder. The system lets go of the lock of a process that died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from annotate.errors import FolderInUseError, StorageError

SHARDS_WAIT_S = 30.0  # for each other while they begin, which takes each a moment


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold a run folder alone; StorageError when another process writes to it, a shard included.

    Also when there is a link in it: what is written or removed lies in the folder itself.
    """
    _refuse_links(folder)
    with ExitStack() as held:
        _take(folder, folder / ".lock", held)
        for shard in sorted(folder.glob(".lock-*")):
            _take(folder, shard, held)
        yield


@contextmanager
def one_writer_of_shard(folder: Path, label: str) -> Iterator[None]:
    """Hold a shard of a run folder; other shards may write to it as well, each its own parts."""
    _refuse_links(folder)
    with ExitStack() as held:
        with among_shards(folder):
            _take(folder, folder / f".lock-{label}", held)
        yield


@contextmanager
def among_shards(folder: Path) -> Iterator[None]:
    """Hold a run folder alone for a moment, for what no two shards may do at a time."""
    with ExitStack() as held:
        _take(folder, folder / ".lock", held, wait_s=SHARDS_WAIT_S)
        yield


def _refuse_links(folder: Path) -> None:
    """StorageError where an entry of a run folder leads out of it; exports link to pictures."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        target = Path(entry.path).readlink()
                        raise StorageError(
                            f"{entry.path}: a link to {target}, and a run writes "
                            "only inside its own folder; put a folder in its place, or have the "
                            "whole run elsewhere with out=DIR"
                        )
                    if entry.is_dir() and Path(entry.path).parent != folder / "exports":
                        waiting.append(Path(entry.path))
        except (FileNotFoundError, NotADirectoryError):
            continue


def _take(folder: Path, path: Path, held: ExitStack, wait_s: float = 0.0) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(FileLock(path, timeout=wait_s))
    except Timeout as error:
        raise FolderInUseError(
            f"{folder}: another process is writing to this run folder; wait for it, or choose "
            "another folder with out=DIR"
        ) from error
    except OSError as error:
        raise StorageError(f"{folder}: cannot write there ({error.strerror or error})") from error
