"""`annotate serve label_studio [prompts=P] [models=M]`: the same models while people label."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from annotate.runner.command import DONE, run_command
from annotate.runner.terminal import complain, say

if TYPE_CHECKING:
    from annotate.serve.label_studio import LabelStudio
    from annotate.serve.server import Routes

KINDS = ("label_studio",)


def routes(backend: LabelStudio) -> Routes:
    """What answers which request of Label Studio's."""
    return {
        ("GET", "/"): lambda content: backend.health(),
        ("GET", "/health"): lambda content: backend.health(),
        ("POST", "/setup"): backend.setup,
        ("POST", "/predict"): backend.predict,
        ("POST", "/webhook"): backend.told,
        ("POST", "/train"): backend.told,
    }


def main() -> None:
    """Answer a labelling tool until it is interrupted."""
    sys.exit(run_command(_serve, sys.argv[1:]))


def _serve(argv: list[str]) -> int:
    # What takes long to import waits until the command is known to be right.
    from annotate.config.compose import compose, typed
    from annotate.config.settings import ServeCommand
    from annotate.discover.class_list import load_prompts
    from annotate.errors import ConfigError
    from annotate.serve.server import check_address, make_server

    kind, *keys = argv or [""]
    if kind in ("-h", "--help"):
        keys = argv
    elif kind not in KINDS:
        raise ConfigError(
            f"serve {kind}: expected `annotate serve {' | '.join(KINDS)} prompts=...`"
        )
    given = any(key.lstrip("+").startswith("dataset=") for key in keys)
    command = typed(compose([*keys, *([] if given else ["dataset=."])], "serve"), ServeCommand)
    check_address(command.serve.host, command.serve.password, "serve")
    classes = load_prompts(command.prompts) if command.prompts is not None else None
    from annotate.serve.annotating import Models
    from annotate.serve.label_studio import LabelStudio
    from annotate.serve.pictures import PictureSource

    if classes is None:
        complain("prompts is not given: the labels of an interface are its classes")
    else:
        complain(f"loading {command.grounder.shown}")
    models = Models(command, classes)
    pictures = PictureSource(command.serve, command.dataset.max_pixels, command.decode.depth)
    backend = LabelStudio(models, pictures.read)
    server = make_server(command.serve, routes(backend))
    host, port = server.server_address[:2]
    say(f"Label Studio: Settings, Model, Connect Model, backend URL http://{host!s}:{port}")
    with server, suppress(KeyboardInterrupt):  # which is how it ends
        server.serve_forever()
    say("stopped")
    return DONE


if __name__ == "__main__":
    main()
