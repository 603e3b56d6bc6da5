"""`annotate [run] dataset=D prompts=P [key=value ...]`, and the other commands by their words."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType

# What takes long to import is imported where it is used: help is there at once.

WORDS = {
    "export": "annotate.export",
    "review": "annotate.review.__main__",
    "evaluate": "annotate.evaluate.__main__",
    "report": "annotate.report.__main__",
    "models": "annotate.models.__main__",
    "preview": "annotate.preview.__main__",
    "serve": "annotate.serve.__main__",
    "playground": "annotate.playground.__main__",
}
HELP = """\
annotate: folders of images and videos plus a class list, turned into a training-ready dataset

  annotate dataset=photos prompts=classes.txt        annotate, then export; the same again resumes
  annotate preview dataset=photos prompts='[kerb]'   try words and thresholds on 12 pictures
  annotate export run=runs/photos 'export=[voc,mot]' export again: no model, no GPU
  annotate playground                                try words on one picture or clip, on a page
  annotate review run=runs/photos                    look through it in FiftyOne
  annotate evaluate run=runs/photos truth=coco.json  AP, tracks, thresholds; `report`: one page
  annotate models [action=pull] [models=fast]        what a preset needs; fetch it ahead
  annotate serve label_studio prompts=classes.txt    predictions while people label

Keys people use (annotate run --help lists every one, with its range):
  dataset=   a folder, a file, a glob, a url, or the name of a config such as demo
  prompts=   classes.txt, classes.yaml or '[red car,person]'
  limit=20   a first try: so many items, spread over the dataset
  dry_run=true         say what would be done, and do nothing
  models=    tiny (inside, generated shapes only) | fast | balanced (default) | best
  out=       the run folder; runs/<name of the dataset> without it
  threshold= score from which an instance is exported, 0..1 (0.3)
  export=    '[coco,yolo_seg]'; also voc, mot, davis, cvat and 11 more: docs/formats.md
  export.split='{train: 0.8, val: 0.2}' | folders
  device=    auto | cuda | cpu | mps
  render=true          overlays and annotated videos as well
  on_change=new|redo   where the run folder was asked otherwise"""


def main() -> None:
    """Annotate a dataset and export it, or do what the first word says."""
    signal.signal(signal.SIGINT, _leave)  # until there is something to end in order
    word, *rest = sys.argv[1:] or [""]
    if word in ("-h", "--help", "help"):
        print(HELP)
    elif word in ("-V", "--version", "version"):
        from annotate.record import versions

        print(f"annotate {versions.program()}")
    elif word in WORDS:
        sys.argv[:] = [f"{sys.argv[0]} {word}", *rest]
        import_module(WORDS[word]).main()
    else:
        from annotate.runner.command import run_command

        sys.exit(run_command(_annotate, rest if word == "run" else sys.argv[1:]))
    sys.exit(0)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def _annotate(argv: list[str]) -> int:
    from annotate.config.compose import compose, typed
    from annotate.config.settings import AnnotateCommand
    from annotate.runner.plan import plan

    _refuse_words(argv)
    asked = plan(typed(compose(argv, "config"), AnnotateCommand))
    if asked.settings.dry_run:
        from annotate.runner.dry_run import told

        print(told(asked))
        return 0
    from annotate.runner.job import carry_out
    from annotate.runner.summary import table

    result = carry_out(asked)
    print(table(result))
    return result.exit_code


def _refuse_words(argv: list[str]) -> None:
    """ConfigError where the first argument is a word, and none of ours."""
    word = argv[0] if argv else ""
    if not word or "=" in word or word.startswith("-"):
        return
    from annotate.config.schema import nearest
    from annotate.errors import ConfigError

    near = nearest(word, ["run", *WORDS])
    hint = f"did you mean {' or '.join(near)}?" if near else f"for a dataset say dataset={word}"
    raise ConfigError(f"{word}: no such command; {hint} (annotate --help lists them)")


if __name__ == "__main__":
    main()
