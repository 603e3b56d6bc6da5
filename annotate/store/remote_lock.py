"""One writer per run folder on a store, where no system lets go of the lock of a dead process.

A lock is an object that its holder writes anew every `BEAT_S`. Whoever finds one watches it: when
it changes, its holder is alive, and the newcomer is refused; when it does not for `BEATS` beats,
its holder is dead, and the lock is taken over. No clocks are compared. Where a store cannot refuse
to write over an object (S3 and GCS can), two that begin within `LOOK_S` may not see each other.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from annotate.errors import StorageError
from annotate.store.remote import Store

log = logging.getLogger(__name__)

BEAT_S = 15.0
BEATS = 4  # without a change, until a holder is taken for dead
LOOK_S = 1.0  # from one look at another's lock to the next


class RemoteLock:
    """A lock that is held; `check` raises StorageError when another took it over."""

    def __init__(self, store: Store, name: str, place: str) -> None:
        self._store, self._name = store, name
        self._said = {
            "holder": f"process {os.getpid()} on {socket.gethostname()}",
            "place": place,  # where this machine works on it: nobody else does there
            "token": uuid.uuid4().hex,
        }
        self._beats = 0
        self._lost = False
        self._done = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lock", daemon=True)

    def check(self) -> None:
        """Raise StorageError when this process was taken for dead, and another has begun."""
        if self._lost:
            raise StorageError(
                f"{self._store.url}: another process has taken over this run folder, because "
                "nothing was heard of this one for too long"
            )

    def take(self) -> None:
        """Take the lock, from a dead holder if need be. Raises StorageError when one is alive."""
        if not self._store.create(self._name, self._text()):
            _await_death(self._store, self._name, self._said["place"])
            self._store.write_text(self._name, self._text())
        time.sleep(min(LOOK_S, BEAT_S))
        # Of two that wrote in the same moment, the store has kept one.
        if not self._is_ours():
            raise _refusal(self._store, self._name)
        self._beating.start()

    def give_back(self) -> None:
        """Remove the lock, unless it is another's by now."""
        self._done.set()
        self._beating.join(BEAT_S)  # a beat under way would write the lock again
        with suppress(StorageError):
            if self._is_ours():
                self._store.remove(self._name)

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            try:
                if not self._is_ours():
                    self._lost = True
                    return
                self._beats += 1
                self._store.write_text(self._name, self._text())
            except StorageError as error:  # the next beat may go through
                log.warning("%s", error)

    def _is_ours(self) -> bool:
        return _field(_read(self._store, self._name), "token") == self._said["token"]

    def _text(self) -> str:
        return json.dumps({**self._said, "beats": self._beats})


@contextmanager
def hold(
    store: Store, name: str, *, place: str, rivals: Callable[[str], bool]
) -> Iterator[RemoteLock]:
    """Hold the lock `name`, while nobody alive holds one that `rivals` says yes to.

    `place` names where this machine works on the run folder, and is held by other means: a lock
    with the same place was left by a process that died here. Raises StorageError.
    """
    lock = RemoteLock(store, name, place)
    lock.take()
    try:
        for other in store.files(depth=1):
            if other != name and rivals(other):
                _await_death(store, other, place)
                store.remove(other)
        yield lock
    finally:
        lock.give_back()


def _await_death(store: Store, name: str, place: str) -> None:
    """Return when the holder of a lock is dead; StorageError as soon as it shows to be alive."""
    first = _read(store, name)
    if not first or _field(first, "place") == place:
        return
    end = time.monotonic() + BEATS * BEAT_S
    while time.monotonic() < end:
        time.sleep(min(LOOK_S, BEAT_S))
        now = _read(store, name)
        if not now:
            return
        if now != first:
            raise _refusal(store, name)
    log.warning("%s: its writer, %s, is dead", store.url, _field(first, "holder"))


def _refusal(store: Store, name: str) -> StorageError:
    holder = _field(_read(store, name), "holder") or "another process"
    return StorageError(
        f"{store.url}: {holder} is writing to this run folder; wait for it, or choose another "
        "folder with out="
    )


def _read(store: Store, name: str) -> str:
    try:
        return store.read_text(name)
    except FileNotFoundError:
        return ""


def _field(text: str, key: str) -> str:
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        return ""
