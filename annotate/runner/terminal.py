"""What commands say to people: one line at a time, that every terminal can show."""

from __future__ import annotations

import io
import logging
import sys

from tqdm import tqdm

from annotate.data.printable import printable

HOUSES = ("annotate", "exporters")


def prepare() -> None:
    """Have warnings on stderr, and no character end a command because a terminal lacks it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in HOUSES:
        house = logging.getLogger(name)
        if not any(isinstance(handler, _Warnings) for handler in house.handlers):
            house.addHandler(_Warnings(logging.WARNING))


def say(text: object) -> None:
    """Print one line."""
    print(printable(text), flush=True)


def complain(text: object) -> None:
    """Print one line on stderr, above a progress bar if there is one."""
    tqdm.write(printable(text), file=sys.stderr)


class _Warnings(logging.Handler):
    """Warnings, each a line on stderr, whatever that is by then. Errors are told elsewhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    def emit(self, record: logging.LogRecord) -> None:
        try:
            complain(f"{record.levelname.lower()}: {record.getMessage()}")
        except Exception:  # as logging has it: what is said must not end what is done
            self.handleError(record)
