"""`python -m annotate.review run=DIR [action=build|pull]`: a run in FiftyOne, and the way back."""

from __future__ import annotations

import sys

from annotate.config.compose import compose, typed
from annotate.config.settings import ReviewCommand, folders
from annotate.record.run_folder import Run
from annotate.review.root import root_here
from annotate.runner.command import run_command, say_root
from annotate.store.remote import allow


def main() -> None:
    """Build the datasets and open the App, or bring back what people did there."""
    sys.exit(run_command(_review, sys.argv[1:]))


def _review(argv: list[str]) -> int:
    composed = compose(argv, "review")
    command = typed(composed, ReviewCommand)
    allow(command.store.protocols)
    opened = Run.open(*folders(command.run))
    root_here(opened)
    say_root(opened)
    from annotate.review.session import review  # which takes FiftyOne, and a while

    return review(opened, command, composed.folders)


if __name__ == "__main__":
    main()
