"""`python -m annotate.export run=DIR [export=[coco]] [threshold=0.4]`: no model, no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

from annotate.command import run_command
from annotate.config import ExportCommand, compose, typed
from annotate.run_folder import Run


def main() -> None:
    """Export a finished run again."""
    sys.exit(run_command(_export, sys.argv[1:]))


def _export(argv: list[str]) -> int:
    from annotate.job import export_run

    command = typed(compose(argv, "export"), ExportCommand)
    run = Run.open(Path(command.run))
    for export in export_run(run, command.export, command.coco, command.threshold):
        print(
            f"{export['format']}: {export['instances']} instances on {export['images']} images "
            f"-> {export['path']}"
        )
    return 0


if __name__ == "__main__":
    main()
