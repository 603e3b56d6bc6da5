"""The process that holds the models of the page: one task at a time, which can be ended."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from io import TextIOBase
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar

from tqdm import tqdm

from annotate.errors import AnnotateError, one_line
from annotate.runner import terminal

P = ParamSpec("P")
T = TypeVar("T")

STOPPED = "Stopped."
DIED = (
    "The process with the models ended without a word, as it does when there is too little memory. "
    "Take smaller models, or a smaller picture."
)
GRACE_S = 2.0  # for a process that has nothing to do, to end in
SAID, DONE, REFUSED = "said", "done", "refused"


class TaskError(AnnotateError):
    """Why a task was not done."""


class Engine:
    """Tasks in a process of its own, each after the other, whoever asks for them."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._free = threading.Condition()
        self._at_work: tuple[object, object] | None = None  # whose task, and which

    def start(self) -> None:
        """Have the process there before it is needed: what it imports takes seconds."""
        with self._free:
            self._ready()

    def close(self) -> None:
        """End the process, whatever it is at."""
        with self._free:
            if self._at_work is None and self._connection is not None:
                self._connection.close()  # it ends by itself then
                if self._process is not None:
                    self._process.join(GRACE_S)
            self._kill()

    def carry_out(
        self, owner: object, task: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> Generator[str, None, T]:
        """Do a task, a function of a module: what it says, line by line, and what it came to.

        Raises TaskError where it cannot be done, or was stopped. Who goes away before its end has
        stopped it.
        """
        this = object()
        with self._free:
            self._free.wait_for(lambda: self._at_work is None)
            connection = self._sent((task, args, options))
            self._at_work = owner, this
        try:
            while True:
                kind, said = self._next(connection, this)
                if kind == SAID:
                    yield said
                    continue
                with self._free:
                    self._let_go(this)
                if kind == REFUSED:
                    raise TaskError(said)
                result: T = said
                return result
        finally:
            with self._free:
                if self._let_go(this):
                    self._kill()

    def stop(self, owner: object) -> bool:
        """End what this owner has at work; models are loaded anew afterwards. Whether any was."""
        with self._free:
            if self._at_work is None or self._at_work[0] is not owner:
                return False
            self._let_go(self._at_work[1])
            self._kill()
            return True

    def _next(self, connection: Connection, this: object) -> tuple[str, Any]:
        """What the process says next, unless nobody wants to know any more."""
        try:
            kind, said = connection.recv()
        except (EOFError, OSError):
            kind, said = REFUSED, DIED
        with self._free:
            if self._at_work is None or self._at_work[1] is not this:
                return REFUSED, STOPPED
            if said is DIED:
                self._kill()  # all of it
            return kind, said

    def _let_go(self, this: object) -> bool:
        """Have the next task begin, if this one is still at work."""
        if self._at_work is None or self._at_work[1] is not this:
            return False
        self._at_work = None
        self._free.notify()
        return True

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _sent(self, asked: tuple[Any, ...]) -> Connection:
        """Ask the process for something; another one, if this one has died meanwhile."""
        try:
            connection = self._ready()
            connection.send(asked)
        except OSError:
            self._kill()
            connection = self._ready()
            connection.send(asked)
        return connection

    def _ready(self) -> Connection:
        if self._process is not None and self._process.is_alive():
            assert self._connection is not None
            return self._connection
        if self._connection is not None:
            self._connection.close()
        context = multiprocessing.get_context("spawn")
        self._connection, its = context.Pipe()
        self._process = context.Process(target=_work, args=(its,), daemon=True)
        self._process.start()
        its.close()  # so that its end is seen here
        return self._connection


def _work(connection: Connection) -> None:
    """What the process does: tasks, until nobody is there to ask for them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the page ends it
    heard = sys.stderr
    sys.stderr = _Lines(lambda line: connection.send((SAID, line)))
    terminal.prepare()
    tqdm.set_lock(threading.RLock())  # its own is one that a process which is killed leaves behind
    import annotate.playground.loaded  # noqa: F401  (torch: seconds, while nothing is asked for)

    while True:
        try:
            task, args, options = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = DONE, task(*args, **options)
        except AnnotateError as error:
            answer = REFUSED, str(error)
        except Exception as bug:
            traceback.print_exception(bug, file=heard)
            answer = REFUSED, f"A fault of this program: {one_line(bug)}"
        connection.send(answer)


class _Lines(TextIOBase):
    """A stream that hands on whole lines."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._begun = tell, ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Take a text, and hand on the lines that it ends."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in filter(None, map(str.strip, lines)):
                self._tell(line)
        return len(text)
