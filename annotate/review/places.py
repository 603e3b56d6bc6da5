"""Where in FiftyOne a run is shown, and under which name."""

from __future__ import annotations

from pathlib import PurePath

from annotate.config.settings import ReviewCommand
from annotate.record.run_folder import Run
from annotate.review.dataset import Kind, Place

KINDS: tuple[Kind, ...] = ("stills", "videos")


def places(run: Run, command: ReviewCommand) -> tuple[Place, ...]:
    """A place for each kind of dataset; the name is that of the run folder unless one is given."""
    name = command.name or PurePath(run.shown()).name
    return tuple(Place(run, name, kind) for kind in KINDS)
