"""`python -m annotate.export run=DIR [export=[coco]] [threshold=0.4] [only=accepted]`: no model."""

from __future__ import annotations

import sys

from annotate.config.compose import compose, typed
from annotate.config.settings import ExportCommand, folders
from annotate.record.run_folder import Run
from annotate.runner.command import DONE, run_command
from annotate.runner.exports import export_run, make_exporters, say_what_no_record_holds


def main() -> None:
    """Export a finished run again."""
    sys.exit(run_command(_export, sys.argv[1:]))


def _export(argv: list[str]) -> int:
    command = typed(compose(argv, "export"), ExportCommand)
    exporters = make_exporters(command)
    with Run.open(*folders(command.run)).held() as run:
        floor = (run.asked().get("ground") or {}).get("floor", 0.0)
        say_what_no_record_holds(floor, command.threshold, run.classes)
        exports = export_run(run, exporters, command)
        run.push("exports")
    for export in exports:
        print(
            f"{export['format']}: {export['instances']} instances on {export['images']} images "
            f"-> {export['path']}"
        )
    return DONE


if __name__ == "__main__":
    main()
