"""`python -m annotate dataset=D prompts=P [key=value ...]`"""

from __future__ import annotations

import sys

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.runner.command import run_command
from annotate.runner.job import annotate_dataset
from annotate.runner.summary import table
from annotate.runner.terminal import say


def main() -> None:
    """Annotate a dataset, then export."""
    sys.exit(run_command(_annotate, sys.argv[1:]))


def _annotate(argv: list[str]) -> int:
    settings = typed(compose(argv, "config"), AnnotateCommand)
    result = annotate_dataset(settings)
    print(table(result))
    if settings.contact_sheet and settings.shard is None:
        say(f"look at: {result.run}/contact_sheet.png")
    say(f"run: {result.run}")
    return result.exit_code


if __name__ == "__main__":
    main()
