"""`annotate report run=DIR`: write `report.html`, one page that opens from disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.report.commands import command, made_by, settings_of
from annotate.runner.command import run_command, say_root
from annotate.runner.terminal import say

if TYPE_CHECKING:
    from annotate.config.settings import ReportCommand
    from annotate.record.run_folder import Run


def main() -> None:
    """Write the report of a run."""
    sys.exit(run_command(_report, sys.argv[1:]))


def write_report(run: Run, asked: ReportCommand) -> Path:
    """Write `report.html` (and `signals.parquet`, which it is made from) into the run folder.

    Raises ConfigError or StorageError.
    """
    # What takes long to import waits until the command is known to be right.
    from annotate.config.settings import folders
    from annotate.evaluate import uncertainty
    from annotate.record.run_folder import Run
    from annotate.report import drift, facts, page, pictures
    from annotate.report.headline import classes_by_need
    from annotate.report.timelines import timelines
    from annotate.runner.summary import what_is_missing
    from annotate.store import atomic

    earlier = Run.open(*folders(asked.against)) if asked.against else None
    uncertainty.write(run, asked.threshold, near_duplicates=asked.near_duplicates)
    table = uncertainty.read(run)
    said = facts.gather(run, asked.threshold, table, asked.export.split, asked.export.split_seed)
    with_instances = [n for n in classes_by_need(said) if said.classes[n].kept]
    sheets = pictures.draw(
        run,
        asked.threshold,
        table,
        tiles=asked.tiles,
        crops=asked.crops,
        class_ids=with_instances,
    )
    changes = drift.compare(run, earlier, asked.threshold) if earlier else None
    lines = timelines(run, asked.threshold, table) if said.tracks else None
    made = page.Made(
        run=made_by(said.asked, said.places, settings_of(said.asked, _presets())),
        report=command("report", said.places, *_said(asked)),
        unfinished=what_is_missing(run.path, *run.others),
    )
    path = run.path / "report.html"
    atomic.write_text(path, page.render(said, sheets, changes, lines, made))
    run.push(uncertainty.signals_path(run).name, path.name)
    return path


def _presets() -> dict[str, dict[str, Any]]:
    """What each shipped preset of models comes to, `balanced`, the default, first."""
    from annotate.config.compose import compose
    from annotate.config.shipped import conf_dir

    found = sorted(path.stem for path in (conf_dir() / "models").glob("*.yaml"))
    names = sorted(found, key=lambda name: name != "balanced")
    sections = ("ground", "segment", "track", "decode", "video")
    composed = {n: compose(["dataset=.", f"models={n}"], "config").values for n in names}
    return {n: {s: values[s] for s in sections if s in values} for n, values in composed.items()}


def _said(asked: ReportCommand) -> list[str]:
    """What the page depends on besides the run."""
    from annotate.config.settings import folders

    against = folders(asked.against) if asked.against else []
    return [*(f"against={place}" for place in against), f"threshold={asked.threshold:g}"]


def _report(argv: list[str]) -> int:
    from annotate.config.compose import compose, typed
    from annotate.config.settings import ReportCommand, folders
    from annotate.record.resume import unchanged
    from annotate.record.run_folder import Run
    from annotate.store.remote import allow

    asked = typed(compose(argv, "report"), ReportCommand)
    allow(asked.store.protocols)
    opened = Run.open(*folders(asked.run))
    say_root(opened)
    run = unchanged(opened)
    say(f"report: {run.shown(write_report(run, asked).name)}")
    say(f"to look through it: {command('review', [run.shown(), *map(str, run.others)])}")
    return 0


if __name__ == "__main__":
    main()
