"""One job of the page: the command line itself, in a process of its own, so that it can be ended.

What the page shows is what the command writes: its records, its sentences, its exit code.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

from annotate.errors import AnnotateError, MediaError

CLASSES = "classes.txt"
ENDS_WITHIN_S = 20.0  # after it was asked to


class JobError(AnnotateError):
    """What the command said when it could not do it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page asks for."""

    upload: Path  # a picture or a clip
    prompts: str  # as in a classes.txt
    models: str
    threshold: float
    keys: tuple[str, ...] = ()  # further `key=value` of the command line

    def command(self, dataset: str, prompts: str) -> list[str]:
        """The words that do the same, over a dataset."""
        own = [f"dataset={dataset}", f"prompts={prompts}", f"models={self.models}"]
        return [*own, *self.keys, f"threshold={self.threshold:g}"]

    @property
    def shown(self) -> str:
        """The command for a whole dataset, as a person would paste it."""
        return shlex.join(["annotate", *self.command("FOLDER", CLASSES)])


@dataclass(slots=True)
class Job:
    """A command at work in a folder, which is its own."""

    asked: Asked
    folder: Path
    _process: subprocess.Popen[str] | None = field(default=None)
    _cancelled: bool = False

    @property
    def run(self) -> Path:
        """The run folder that it writes."""
        return self.folder / "run"

    def lines(self) -> Iterator[str]:
        """Do it, and say how far it is as lines. Raises JobError where it cannot be done."""
        source = self._laid_out()
        argv = [
            sys.executable, "-m", "annotate", *self.asked.command(str(source), CLASSES),
            f"out={self.run}", "export=[]", "contact_sheet=false", "runner.progress_s=0.5",
            "gates.max_failed=1",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            argv,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        said: list[str] = []
        try:
            for line in _as_they_come(self._process):
                said.append(line)
                if not self._cancelled:  # how it ends then is nobody's business
                    yield line
            code = self._process.wait()
        finally:
            self.cancel()
        if self._cancelled:
            raise JobError("Stopped.")
        if code not in (0, 3):
            raise JobError(_why(said))

    def cancel(self) -> None:
        """End it, if it is at work."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self._cancelled = True
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _laid_out(self) -> Path:
        """The upload alone in a folder, under a name that says nothing to any grammar."""
        if not self.asked.upload.is_file():
            raise MediaError("choose a picture or a clip first")
        dataset = self.folder / "dataset"
        shutil.rmtree(dataset, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        dataset.mkdir(parents=True)
        shutil.copyfile(
            self.asked.upload, dataset / f"upload{self.asked.upload.suffix.lower()[:10]}"
        )
        (self.folder / CLASSES).write_text(self.asked.prompts, encoding="utf-8")
        return Path("dataset")


def _as_they_come(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a process's errors, read by a thread, so that nobody waits for a silent one."""
    lines: Queue[str | None] = Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.put(line.strip())
        lines.put(None)

    threading.Thread(target=read, name="read job", daemon=True).start()
    while (line := lines.get()) is not None:
        if line:
            yield line


def _why(said: Sequence[str]) -> str:
    """The command's own sentence: its error, else the last thing that it said."""
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else said[-1] if said else "the command ended without a word"
