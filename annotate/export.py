"""`python -m annotate.export run=DIR [export=[coco]] [threshold=0.4] [only=accepted]`: no model."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import exporters
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, ExportCommand, folders
from annotate.record.run_folder import Run
from annotate.runner.command import run_command


def main() -> None:
    """Export a finished run again."""
    sys.exit(run_command(_export, sys.argv[1:]))


def check(asked: AnnotateCommand | ExportCommand) -> None:
    """Raise ConfigError for an unknown format or an option out of its range."""
    exporters.check_formats(asked.export.formats)
    _options(asked)


def export_run(run: Run, asked: AnnotateCommand | ExportCommand) -> list[dict[str, Any]]:
    """Write every export format that is asked for; what each came to, for the summary."""
    summaries = exporters.export(run, asked.export.formats, _options(asked))
    return [asdict(summary) for summary in summaries]


def _options(asked: AnnotateCommand | ExportCommand) -> exporters.ExportOptions:
    return exporters.ExportOptions(
        threshold=asked.threshold,
        only=asked.only,
        split=asked.export.split or {},
        split_seed=asked.export.split_seed,
        frames_stride=asked.export.frames_stride,
        media=asked.export.media,
        coco_masks=asked.coco.masks,
        polygon_tolerance=asked.coco.tolerance,
    )


def _export(argv: list[str]) -> int:
    command = typed(compose(argv, "export"), ExportCommand)
    with Run.open(*folders(command.run)).held() as run:
        exports = export_run(run, command)
        run.push("exports")
    for export in exports:
        print(
            f"{export['format']}: {export['instances']} instances on {export['images']} images "
            f"-> {export['path']}"
        )
    return 0


if __name__ == "__main__":
    main()
