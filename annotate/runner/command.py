"""What every command of the house does with what goes wrong: one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from annotate.errors import AnnotateError
from annotate.runner import interrupt, terminal

if TYPE_CHECKING:
    from annotate.record.run_folder import Run

DONE, REFUSED, GATE_FAILED = 0, 2, 3


def say_root(run: Run) -> None:
    """Name the folder that pictures are read from, unless it lies below the working folder.

    It was not given on the command line: a run folder may come from anywhere, and names a folder
    of this machine.
    """
    if isinstance(run.root, Path) and run.root.resolve().is_relative_to(Path.cwd()):
        return
    said = run.shown("config.yaml")
    terminal.complain(f"pictures are read below {run.root}, as {said} has it")


def run_command(command: Callable[[list[str]], int], argv: Sequence[str]) -> int:
    """Run a command; an AnnotateError becomes one line on stderr and exit code 2."""
    _have_names_in_utf8()
    interrupt.watch()
    terminal.prepare()
    try:
        return command(list(argv))
    except AnnotateError as error:
        terminal.complain(f"error: {error}")
        return REFUSED
    except BrokenPipeError:  # whoever read our output (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        terminal.complain(interrupt.SAYS)
        return interrupt.EXIT_CODE


def _have_names_in_utf8() -> None:
    """Begin again where the system takes names of files for ASCII or Latin, which they seldom are.

    Names of the same file would differ from those of a run elsewhere, or not be usable at all.
    """
    if os.name == "posix" and sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONUTF8": "1"})
