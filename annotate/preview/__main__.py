"""`annotate preview dataset=D prompts=P [n=12]`: try words and thresholds on a few pictures."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from annotate.runner.command import DONE, run_command
from annotate.runner.terminal import complain, say

OWN = ("n", "sheet")  # keys that are no business of the run that follows


def main() -> None:
    """Look at a sample; no mask is made and no record written."""
    sys.exit(run_command(_preview, sys.argv[1:]))


def _preview(argv: list[str]) -> int:
    # What takes long to import waits until the command is known to be right.
    from annotate.config.compose import compose, typed
    from annotate.config.settings import PreviewCommand
    from annotate.errors import ConfigError
    from annotate.runner.plan import plan, run_folder
    from annotate.store.remote import is_url

    command = typed(compose(argv, "preview"), PreviewCommand)
    asked = plan(command)
    folder = run_folder(command)
    if command.sheet is None and is_url(str(folder)):
        raise ConfigError(
            f"out={folder}: the picture is written to a file here; add sheet=FILE.png"
        )
    path = Path(command.sheet) if command.sheet else Path(folder) / "preview.png"
    from annotate.preview.look import Phrases, looks
    from annotate.preview.sheet import Sheet
    from annotate.preview.sweep import Sweep

    phrases = Phrases.of(asked.classes)
    sweep = Sweep(asked.classes, phrases, command.threshold)
    sheet = Sheet(asked.classes, phrases, command.threshold)
    complain(f"loading {command.grounder.shown}")
    count = 0
    for look in looks(asked, phrases, command.n):
        count += 1
        complain(f"{count} of {min(command.n, len(asked.found.items))}: {look.frame.frame_id}")
        sweep.add(look)
        sheet.add(look)
    if not count:
        raise ConfigError(f"dataset={command.dataset.path}: none of the pictures could be read")
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = sheet.write(path, f"boxes from threshold {command.threshold:g} on; dashed: below it")
    print(sweep.table(command.threshold))
    if without := len(asked.classes) - shown:
        say(f"{without:,} classes have no crop on it: nothing found, or too many to show")
    say(f"look at: {path}")
    chosen = [a for a in argv if a.lstrip("+").partition("=")[0] not in OWN]
    say(f"to annotate with this: {shlex.join(['annotate', *chosen])}")
    return DONE


if __name__ == "__main__":
    main()
