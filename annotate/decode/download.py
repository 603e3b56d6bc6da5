"""Items of a dataset on a store, on this machine for as long as they are read."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

import psutil

from annotate.data.types import Item
from annotate.discover.files import VIDEO_SUFFIXES, is_numbered
from annotate.errors import MediaError, StorageError
from annotate.store.cache_folder import cache_folder
from annotate.store.remote import Store

OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what is wrong is not the item


@contextmanager
def at_hand(item: Item) -> Iterator[Item]:
    """The item with its file on this machine: itself, or a copy that is removed afterwards.

    One that is gone from the store has a path where nothing is, like one gone from a folder. Raises
    MediaError when it cannot be downloaded, StorageError when there is no room for it.
    """
    if item.remote is None:
        yield item
        return
    folder = _own_folder() / uuid.uuid4().hex[:12]
    try:
        path = folder / f"item{PurePosixPath(item.name).suffix}"
        _fetch(item, Store(item.remote.root), path)
        yield replace(item, path=path, remote=None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(item: Item, store: Store, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True)
        if item.media == "image" or path.suffix.lower() in VIDEO_SUFFIXES:
            try:
                store.fetch(item.name, path)
                return
            except FileNotFoundError:
                if item.media == "image":
                    return
        for name in store.files(item.name, depth=1):
            if is_numbered(frame := path / PurePosixPath(name).name):
                store.fetch(name, frame)
    except FileNotFoundError:
        shutil.rmtree(path, ignore_errors=True)  # it went while it was read
    except (StorageError, OSError) as error:
        if getattr(error.__cause__ or error, "errno", None) in OWN_DISK:
            raise StorageError(
                f"{cache_folder()}: cannot keep downloads there ({error})"
            ) from error
        raise MediaError(str(error)) from error


@cache
def _own_folder() -> Path:
    """This process's folder; those of processes that died on this machine are removed."""
    place, host = cache_folder() / "items", socket.gethostname()
    for left in place.glob(f"{host}-*"):
        number = left.name.removeprefix(f"{host}-")
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    return place / f"{host}-{os.getpid()}"
