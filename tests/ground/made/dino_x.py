"""DINO-X, as a local service plays it."""

import os
from pathlib import Path

from tests.dds_server import TOKEN, serve

WITHOUT_WAITING = [
    "ground.calls.poll_s=0.005", "ground.calls.backoff_s=0.005", "ground.calls.per_s=2000",
]  # fmt: skip


def overrides(folder: Path) -> list[str]:
    """The service goes on until this process ends."""
    os.environ["DDS_API_TOKEN"] = TOKEN
    service = serve()
    dds = service.__enter__()
    KEPT.append(service)
    return ["ground=dino_x", f"ground.endpoint={dds.url}", *WITHOUT_WAITING]


KEPT: list[object] = []
