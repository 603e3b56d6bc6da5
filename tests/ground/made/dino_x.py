"""DINO-X, as a local service plays it."""

import atexit
import os
from contextlib import ExitStack
from pathlib import Path

from tests.dds_server import TOKEN, serve

WITHOUT_WAITING = [
    "ground.calls.poll_s=0.005", "ground.calls.backoff_s=0.005", "ground.calls.per_s=2000",
]  # fmt: skip


# Closed while its thread still runs: later, when modules are cleared, closing waits for ever.
KEPT = ExitStack()
atexit.register(KEPT.close)


def overrides(folder: Path) -> list[str]:
    """The service goes on until this process ends."""
    os.environ["DDS_API_TOKEN"] = TOKEN
    dds = KEPT.enter_context(serve())
    return ["ground=dino_x", f"ground.endpoint={dds.url}", *WITHOUT_WAITING]
