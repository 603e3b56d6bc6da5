"""`python -m annotate.review run=DIR [action=build|pull]`: a run in FiftyOne, and the way back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from annotate.config.compose import compose, typed
from annotate.config.settings import ReviewCommand, folders
from annotate.errors import ConfigError, StorageError
from annotate.record.run_folder import Run
from annotate.review.root import root_here
from annotate.runner import interrupt
from annotate.runner.command import DONE, run_command, say_root
from annotate.runner.terminal import complain, say
from annotate.store.remote import allow

if TYPE_CHECKING:
    from annotate.review.dataset import ReviewDataset

KEYS = "keys: y accept, n reject, u fix, again to take back, with shift the whole track; or buttons"


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
    # From here on FiftyOne is needed, which takes a while.
    os.environ.setdefault("FIFTYONE_LOGGING_LEVEL", "ERROR")  # it remarks on this and that
    from annotate.record.resume import unchanged
    from annotate.review.build import build
    from annotate.review.dataset import DATABASE_ERRORS
    from annotate.store.fiftyone_database import connect

    try:
        connect()
        if command.action == "pull":
            _pull(opened, command, composed.folders)
            return DONE
        with opened.held() as held:
            run = unchanged(held)
            datasets, brought = build(run, command)
            if not datasets:
                raise ConfigError(f"run={run.shown()}: it has no annotated picture to review")
            if brought:
                say(f"{len(brought)} new decisions in {run.shown('reviews')}, of last time")
            if command.action == "build":
                _say_progress(run, datasets)
            run.push("reviews", "signals.parquet")
        if command.action == "open":
            return _open(opened, datasets, command, composed.folders)
    except DATABASE_ERRORS as error:
        raise StorageError(f"FiftyOne's database: {str(error).splitlines()[0]}") from error
    return DONE


def _open(
    opened: Run, datasets: Sequence[ReviewDataset], command: ReviewCommand, configs: tuple[str, ...]
) -> int:
    """Show the datasets until Ctrl-C, which is how a review ends; then bring decisions back."""
    from annotate.review.app import serving

    log = opened.path / "review.log"
    first, *others = sorted(datasets, key=lambda d: d.left()[1], reverse=True)
    broken = False
    try:
        with serving([first, *others], port=command.port, log=log) as app:
            left = " and ".join(f"{d.left()[0]} {d.kind}" for d in [first, *others])
            interrupt.unwatch()
            with suppress(KeyboardInterrupt):  # from the line on that says so
                say(f"{left} to look at, the least certain first: {app.address}")
                say(KEYS)
                say("Ctrl-C here ends the review and brings the decisions back")
                _open_browser(app.address)
                app.wait()
                broken = True
        _pull(opened, command, configs)
    except KeyboardInterrupt:
        complain(
            "interrupted; the decisions are in FiftyOne's database: "
            f"`python -m annotate.review run={opened.shown()} action=pull` brings them back"
        )
        return interrupt.EXIT_CODE
    if broken:
        raise StorageError(f"FiftyOne's server ended by itself, see {log}; decisions are safe")
    return DONE


def _open_browser(address: str) -> None:
    """Show the page where there is a screen, and have what browsers say of themselves unheard."""
    subprocess.Popen(
        [sys.executable, "-m", "webbrowser", address], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _pull(opened: Run, command: ReviewCommand, configs: tuple[str, ...]) -> None:
    """Bring decisions back, say how many, and how far the review is."""
    from annotate.record.resume import unchanged
    from annotate.review.places import places
    from annotate.review.pull import pull

    with opened.held() as held:
        run = unchanged(held)
        datasets = [d for place in places(run, command) if (d := place.find()) is not None]
        if not datasets:
            raise ConfigError(
                f"run={run.shown()}: FiftyOne has no dataset of it; build one first with "
                f"`python -m annotate.review run={run.shown()} action=build`"
            )
        made = pull(run, command)
        say(f"{len(made)} new decisions in {run.shown('reviews')}")
        if command.repropagate:
            from annotate.review.repropagate import carry_on  # which take torch
            from annotate.runner.build import recorded_segmenter

            segmenter, finishing = recorded_segmenter(run, device=command.device, folders=configs)
            carried = carry_on(run, segmenter, finishing)
            say(f"{carried} masks carried on; open to see them")
        _say_progress(run, datasets)
        run.push("reviews", "signals.parquet")


def _say_progress(run: Run, datasets: Sequence[ReviewDataset]) -> None:
    from annotate.review import progress

    for line in progress.lines(run, datasets):
        say(line)


if __name__ == "__main__":
    main()
