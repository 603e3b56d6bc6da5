"""`run.log`: what happened on the way, for people who look afterwards."""

from __future__ import annotations

import logging
import platform
import shlex
import sys
from pathlib import Path

from annotate.data.printable import printable
from annotate.record import versions
from annotate.runner.terminal import HOUSES


class _LogFile(logging.FileHandler):
    """A log that gives way when the disk is full: what matters is said elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


class _OneLine(logging.Formatter):
    """A message is one line, whatever the names in it; a traceback may have more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


def write_to(path: Path) -> None:
    """Append the log to a file."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in HOUSES:
        house = logging.getLogger(name)
        for old in [h for h in house.handlers if isinstance(h, _LogFile)]:
            house.removeHandler(old)
            old.close()
        house.addHandler(handler)
        house.setLevel(logging.INFO)
        house.propagate = False


def command() -> str:
    """What runs here: the command line, and the versions and the machine it runs with."""
    libraries = ", ".join(f"{name} {version}" for name, version in versions.libraries().items())
    return (
        f"{shlex.join(sys.argv)} | annotate {versions.program()}, "
        f"Python {platform.python_version()}, {platform.platform()}, {libraries}"
    )
