"""The error tree: a bad run stops with one line and exit code 2, a bad item becomes a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import annotate


class AnnotateError(Exception):
    """Something the user can mend; the message names the value, the place and the way out."""


class ConfigError(AnnotateError):
    """The command or a config key is wrong."""


class PromptError(AnnotateError):
    """The class list is wrong."""


class MediaError(AnnotateError):
    """One item cannot be read; the run goes on without it."""


class PixelsError(MediaError, TypeError):
    """What was given as a picture is none; the message says how to make one of it."""


class BrokenVideoError(MediaError):
    """A video breaks off; `records` are those of the frames before."""

    def __init__(self, message: str, records: Sequence[annotate.FrameRecord] = ()) -> None:
        super().__init__(message)
        self.records = list(records)


class WeightsError(AnnotateError):
    """Model weights are missing, damaged or refused."""


class ServiceError(AnnotateError):
    """A service does not answer us: it is down, or refuses the key, or what may be paid is spent.

    The run stops; the same command goes on from there.
    """


class StorageError(AnnotateError):
    """The run folder cannot be read or written."""


class FolderInUseError(StorageError):
    """Another process writes to the run folder."""


def one_line(error: Exception) -> str:
    """What an error of a library says, short enough for a line of ours."""
    return " ".join(str(error).split())[:300] or type(error).__name__
