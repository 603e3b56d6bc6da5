"""Ctrl-C and SIGTERM: an orderly end where that comes soon, an abrupt one where it does not."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
SAYS = "interrupted; the same command continues from here"
GRACE_S = 3.5  # for an orderly end; a second signal cuts it short
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_last_words: list[Callable[[], None]] = []


@contextmanager
def last_words(say: Callable[[], None]) -> Iterator[None]:
    """Have `say` called, in another thread, should the process have to end abruptly in here."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


def watch() -> None:
    """Turn both signals into KeyboardInterrupt, and end the process if that takes too long.

    Python tells the main thread of a signal only between two of its own instructions, and a pass of
    a large model on a CPU is one. So a thread listens beside it, where signals arrive at once.
    """
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(told, tell), name="interrupt", daemon=True).start()


def unwatch() -> None:
    """From here on a signal is KeyboardInterrupt and no more: where it is the way to end."""
    signal.set_wakeup_fd(-1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listen(told: socket.socket, tell: socket.socket) -> None:
    # `tell` is handed over only to stay open as long as this thread listens.
    while told.recv(1)[0] not in SIGNALS:
        pass
    told.settimeout(GRACE_S)
    try:
        while told.recv(1)[0] not in SIGNALS:
            pass
    except TimeoutError:
        pass
    speaking = threading.Thread(target=_say_last_words, daemon=True)
    speaking.start()
    speaking.join(1.0)  # a disk that hangs must not keep the process
    print(SAYS, file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)


def _say_last_words() -> None:
    for say in _last_words:
        say()
