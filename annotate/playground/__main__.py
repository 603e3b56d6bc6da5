"""`annotate playground [models=tiny]`: a page to try words on a picture or a clip."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from annotate.runner import interrupt
from annotate.runner.command import DONE, run_command
from annotate.runner.terminal import say


def main() -> None:
    """Show the page until it is interrupted."""
    sys.exit(run_command(_playground, sys.argv[1:]))


def _playground(argv: list[str]) -> int:
    # What takes long to import waits until the command is known to be right.
    from annotate.config.compose import compose, typed
    from annotate.config.settings import PlaygroundCommand
    from annotate.errors import ConfigError
    from annotate.serve.server import check_address

    # Elsewhere `models=` is composed; here it is what the page begins with.
    asked = [f"playground.{word}" if word.startswith("models=") else word for word in argv]
    command = typed(compose(asked, "playground"), PlaygroundCommand)
    settings = command.playground
    check_address(settings.host, settings.password, "playground")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
    try:
        from annotate.playground.page import Page
        from annotate.playground.site import serve
    except ImportError as error:
        raise ConfigError(
            f"the page needs Gradio: pip install 'annotate[playground]' ({error})"
        ) from error
    root = Path(tempfile.mkdtemp(prefix="annotate-playground-"))
    try:
        page = Page(root, models=settings.models, max_frames=settings.max_frames)
        say(f"open http://{settings.host}:{settings.port} in a browser; Ctrl+C ends it")
        interrupt.unwatch()
        with suppress(KeyboardInterrupt):  # which is how it ends
            serve(page, settings, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return DONE


if __name__ == "__main__":
    main()
