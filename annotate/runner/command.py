"""What every command of the house does with what goes wrong: one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from annotate.data.item_paths import shown
from annotate.errors import AnnotateError
from annotate.record.run_folder import Run
from annotate.runner import interrupt

DONE, REFUSED, GATE_FAILED = 0, 2, 3


def say_root(run: Run) -> None:
    """Name the folder that pictures are read from where it was not given on the command line.

    A run folder may come from anywhere, and names a folder of this machine.
    """
    said = run.shown("config.yaml")
    print(
        f"pictures are read below {shown(str(run.root), 1000)}, as {said} has it", file=sys.stderr
    )


def run_command(command: Callable[[list[str]], int], argv: Sequence[str]) -> int:
    """Run a command; an AnnotateError becomes one line on stderr and exit code 2."""
    interrupt.watch()
    try:
        return command(list(argv))
    except AnnotateError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:  # whoever read our output (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print(interrupt.SAYS, file=sys.stderr)
        return interrupt.EXIT_CODE
