"""`python -m annotate.export run=DIR [export=[coco]] [threshold=0.4] [check=true]`: no model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from annotate.errors import ConfigError
from annotate.runner.command import DONE, GATE_FAILED, run_command, say_root
from annotate.runner.terminal import say

if TYPE_CHECKING:
    from annotate.record.run_folder import Run


def main() -> None:
    """Export a finished run again."""
    sys.exit(run_command(_export, sys.argv[1:]))


def _export(argv: list[str]) -> int:
    from annotate.config.compose import compose, typed
    from annotate.config.settings import ExportCommand, folders

    command = typed(compose(argv, "export"), ExportCommand)
    from annotate.record.run_folder import Run
    from annotate.record.soundness import sound
    from annotate.runner.exports import (
        check_exports,
        export_run,
        make_exporters,
        say_what_no_record_holds,
    )
    from annotate.runner.summary import exported, what_is_missing
    from annotate.store.remote import allow

    if command.check and command.export.media == "none":
        raise ConfigError(
            "check=true: tools read labels with their pictures; leave export.media=none out"
        )
    allow(command.store.protocols)
    exporters = make_exporters(command)
    with Run.open(*folders(command.run)).held() as held:
        say_root(held)
        run = sound(held)
        missing = what_is_missing(run.path, *run.others)
        if missing and not command.partial:
            raise ConfigError(
                f"{missing}; finish it with the command that began it, or export what is there "
                "with partial=true (into exports/<format>-partial)"
            )
        say_what_no_record_holds(_floor(run), command.threshold, run.classes)
        suffix = "-partial" if missing else ""
        exports = export_run(run, exporters, command, suffix)
        run.push("exports")
        for export in exports:
            say(exported(export))
        if missing:
            say(f"partial: {missing}")
        whole = True
        for line, passed in check_exports(run, exporters, command, suffix) if command.check else ():
            say(f"check{'' if passed else ' failed'}: {line}")
            whole &= passed
    return DONE if whole else GATE_FAILED


def _floor(run: Run) -> float:
    """The score that the run recorded from; 0 where its settings do not say."""
    ground = run.asked().get("ground")
    floor = ground.get("floor") if isinstance(ground, dict) else None
    return float(floor) if isinstance(floor, (int, float)) else 0.0


if __name__ == "__main__":
    main()
