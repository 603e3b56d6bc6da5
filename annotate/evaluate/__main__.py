"""`python -m annotate.evaluate run=DIR truth=FILE`: score a run against ground truth."""

from __future__ import annotations

import sys
from pathlib import Path

from annotate.errors import ConfigError
from annotate.runner.command import run_command, say_root
from annotate.runner.terminal import say


def main() -> None:
    """Print scores and write `evaluation.json`; with `suggest=FILE` thresholds as well."""
    sys.exit(run_command(_evaluate, sys.argv[1:]))


def _evaluate(argv: list[str]) -> int:
    from annotate.config.compose import compose, typed
    from annotate.config.settings import EvaluateCommand, folders

    command = typed(compose(argv, "evaluate"), EvaluateCommand)
    from annotate.record.resume import unchanged
    from annotate.record.run_folder import Run
    from annotate.store import atomic
    from annotate.store.remote import allow, is_url

    allow(command.store.protocols)
    if is_url(command.suggest):
        raise ConfigError(f"suggest={command.suggest}: it is written to a file of this machine")
    opened = Run.open(*folders(command.run))
    say_root(opened)
    run = unchanged(opened)
    from annotate.evaluate import thresholds
    from annotate.evaluate.evaluation import evaluate, table
    from annotate.evaluate.truth import read_mapping, read_truth

    mapping = read_mapping(Path(command.mapping)) if command.mapping else None
    truth = read_truth(command.truth, threshold=command.threshold, mapping=mapping)
    suggestion = (command.beta, command.folds) if command.suggest else None
    result = evaluate(run, truth, command.threshold, suggestion=suggestion)
    result.write(run.path / "evaluation.json")
    run.push("evaluation.json")
    print(table(result))
    if command.suggest and result.suggested is not None:
        text = thresholds.as_prompts(run.classes, result.suggested)
        atomic.write_text(Path(command.suggest), text)
        say(f"class list with these thresholds: {command.suggest}")
    return 0


if __name__ == "__main__":
    main()
