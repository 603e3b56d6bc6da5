"""`python -m annotate.report run=DIR`: write `report.html`, one page that opens from disk."""

from __future__ import annotations

import sys
from pathlib import Path

from annotate.config.compose import compose, typed
from annotate.config.settings import ReportCommand, folders
from annotate.evaluate import uncertainty
from annotate.record.resume import unchanged
from annotate.record.run_folder import Run
from annotate.report import drift, facts, page, pictures
from annotate.runner.command import run_command, say_root
from annotate.runner.terminal import say
from annotate.store import atomic
from annotate.store.remote import allow


def main() -> None:
    """Write the report of a run."""
    sys.exit(run_command(_report, sys.argv[1:]))


def write_report(run: Run, asked: ReportCommand) -> Path:
    """Write `report.html` (and `signals.parquet`, which it is made from) into the run folder.

    Raises ConfigError or StorageError.
    """
    earlier = Run.open(*folders(asked.against)) if asked.against else None
    uncertainty.write(run, asked.threshold, near_duplicates=asked.near_duplicates)
    table = uncertainty.read(run)
    said = facts.gather(run, asked.threshold, table, asked.export.split, asked.export.split_seed)
    sheets = pictures.draw(run, asked.threshold, table, tiles=asked.tiles, crops=asked.crops)
    changes = drift.compare(run, earlier, asked.threshold) if earlier else None
    path = run.path / "report.html"
    atomic.write_text(path, page.render(said, sheets, changes))
    run.push(uncertainty.signals_path(run).name, path.name)
    return path


def _report(argv: list[str]) -> int:
    asked = typed(compose(argv, "report"), ReportCommand)
    allow(asked.store.protocols)
    opened = Run.open(*folders(asked.run))
    say_root(opened)
    run = unchanged(opened)
    say(f"report: {run.shown(write_report(run, asked).name)}")
    return 0


if __name__ == "__main__":
    main()
