"""`annotate playground [models=tiny]`: a page to try words on a picture or a clip."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from annotate.playground.words import Words
from annotate.runner import interrupt
from annotate.runner.command import DONE, run_command


def main() -> None:
    """Show the page until it is interrupted."""
    sys.exit(run_command(_playground, sys.argv[1:]))


def _playground(argv: list[str]) -> int:
    interrupt.unwatch()
    with suppress(KeyboardInterrupt):  # which is how it ends
        _serve(Words.of(argv))
    return DONE


def _serve(words: Words) -> None:
    # What takes long to import waits until the command is known to be right.
    from annotate.config.compose import compose, typed
    from annotate.config.settings import PlaygroundCommand, folders
    from annotate.errors import ConfigError
    from annotate.record.run_folder import Run
    from annotate.serve.server import check_address
    from annotate.store.remote import allow

    root = Path(tempfile.mkdtemp(prefix="annotate-playground-"))
    try:
        command = typed(compose(words.of_page(root / "demo"), "playground"), PlaygroundCommand)
        check_address(command.playground.host, command.playground.password, "playground")
        allow(command.store.protocols)
        run = None if command.run is None else Run.open(*folders(command.run))
        uploads = root / "gradio"
        # Before gradio is imported: it says nothing to anybody, and keeps what it is given here.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        try:
            from annotate.playground.site import serve
        except ImportError as error:
            raise ConfigError(
                f"the page needs Gradio: pip install 'annotate[playground]' ({error})"
            ) from error
        serve(root, uploads, command, run, words)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
