"""Answers that were paid for, kept in the run folder: the same request is never paid twice.

answers/ab/ab12....json    an answer, by the digest of its request
answers/ab/ab12....asked   a request without an answer yet: where to go on if this is killed
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.errors import MediaError
from annotate.ground.dds.reply import Result, read
from annotate.store import atomic

log = logging.getLogger(__name__)

FOLDER = "answers"
IN_MEMORY = 64  # answers, where there is no folder


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has no answer yet."""

    key: str  # which the service knows it by again
    task: str | None = None  # that the service made of it

    @classmethod
    def new(cls) -> Asked:
        return cls(str(uuid.uuid4()))


class Answers:
    """Answers by the digest of their request; several threads may ask for different ones."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._recent: OrderedDict[str, Result] = OrderedDict()
        self.damaged = 0

    def keep_in(self, run_folder: Path) -> None:
        """From now on in a run folder, beside those that are there."""
        self._folder = run_folder / FOLDER

    def known(self, digest: str) -> Result | None:
        """The answer to a request, if it was had; a damaged one counts as none."""
        if self._folder is None:
            return self._recent.get(digest)
        path = self._path(digest, ".json")
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if _digest(said["answer"]) == said["sha256"]:
                return read(Result, said["answer"], "answer")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, MediaError):
            pass
        self.damaged += 1
        log.warning("%s: damaged, it is asked for again", path)
        return None

    def keep(self, digest: str, answer: Result) -> None:
        """Note the answer to a request. Raises StorageError."""
        if self._folder is None:
            self._recent[digest] = answer
            while len(self._recent) > IN_MEMORY:
                self._recent.popitem(last=False)
            return
        content = answer.model_dump(mode="json", exclude_none=True)
        kept = {"answer": content, "sha256": _digest(content)}
        atomic.write_text(self._path(digest, ".json"), json.dumps(kept) + "\n")
        self.forget(digest)

    def asked(self, digest: str) -> Asked:
        """What is known of a request without an answer: of a new one, that it gets a key."""
        if self._folder is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(self._path(digest, ".asked").read_text(encoding="utf-8"))
                key, task = said["key"], said["task"]
                if isinstance(key, str) and isinstance(task, str | None):
                    return Asked(str(uuid.UUID(key)), task)
        return Asked.new()

    def note(self, digest: str, asked: Asked) -> None:
        """Have a request found again by a process that comes after this one."""
        if self._folder is not None:
            text = json.dumps({"key": asked.key, "task": asked.task})
            atomic.write_text(self._path(digest, ".asked"), text + "\n")

    def forget(self, digest: str) -> None:
        """A request that came to its end, or to nothing."""
        if self._folder is not None:
            with suppress(OSError):
                self._path(digest, ".asked").unlink(missing_ok=True)

    def _path(self, digest: str, suffix: str) -> Path:
        assert self._folder is not None
        return self._folder / digest[:2] / f"{digest}{suffix}"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
