"""`python -m annotate.review run=DIR [action=build|pull]`: a run in FiftyOne, and the way back."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress

from annotate.config.compose import compose, typed
from annotate.config.settings import ReviewCommand, folders
from annotate.errors import ConfigError, StorageError
from annotate.record.resume import unchanged
from annotate.record.run_folder import Run
from annotate.review import progress
from annotate.review.app import LOOPBACK, open_app, serving
from annotate.review.build import build, root_here
from annotate.review.dataset import DATABASE_ERRORS, ReviewDataset
from annotate.review.places import places
from annotate.review.pull import pull
from annotate.runner import interrupt
from annotate.runner.command import DONE, run_command, say_root
from annotate.runner.terminal import say
from annotate.store.fiftyone_database import connect
from annotate.store.remote import allow

log = logging.getLogger(__name__)


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
    try:
        connect()
        with opened.held() as held:
            run = unchanged(held)
            if command.action == "pull":
                made = pull(run, command)
                say(f"{len(made)} new decisions in {run.shown('reviews')}")
                if command.repropagate:
                    from annotate.review.repropagate import carry_on  # which take torch
                    from annotate.runner.build import recorded_segmenter

                    segmenter, finishing = recorded_segmenter(
                        run, device=command.device, folders=composed.folders
                    )
                    carried = carry_on(run, segmenter, finishing)
                    say(f"{carried} masks carried on; open to see them")
                datasets = [d for place in places(run, command) if (d := place.find()) is not None]
                if not datasets:
                    raise ConfigError(
                        f"run={run.shown()}: FiftyOne has no dataset of it; build one first with "
                        f"`python -m annotate.review run={run.shown()} action=build`"
                    )
            else:
                datasets = build(run, command)
                if not datasets:
                    raise ConfigError(f"run={run.shown()}: it has no annotated picture to review")
            for line in progress.lines(run, datasets):
                say(line)
            run.push("reviews", "signals.parquet")
        if command.action == "open":
            _wait(datasets, command.port)
    except DATABASE_ERRORS as error:
        raise StorageError(f"FiftyOne's database: {str(error).splitlines()[0]}") from error
    return DONE


def _wait(datasets: Sequence[ReviewDataset], port: int) -> None:
    """Show the first dataset until Ctrl-C, which is how a review ends."""
    with serving(datasets, port=port):
        session = open_app(datasets[0], port=port)
        say(f"the App is at http://{LOOPBACK}:{port} until Ctrl-C; then action=pull")
        interrupt.unwatch()
        with suppress(KeyboardInterrupt):
            session.wait(-1)
        say("closing the App")


if __name__ == "__main__":
    main()
