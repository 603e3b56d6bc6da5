"""`run.log`: what happened on the way, for people who look afterwards."""

from __future__ import annotations

import logging
from pathlib import Path


class _LogFile(logging.FileHandler):
    """A log that gives way when the disk is full: what matters is said elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


def write_to(path: Path) -> None:
    """Append the log to a file."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("annotate", "exporters"):
        house = logging.getLogger(name)
        for old in house.handlers[:]:
            house.removeHandler(old)
            old.close()
        house.addHandler(handler)
        house.setLevel(logging.INFO)
        house.propagate = False
