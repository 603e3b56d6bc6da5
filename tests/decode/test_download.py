"""Items of a store on this machine, for as long as they are read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from annotate.decode import download
from annotate.errors import StorageError
from annotate.store.remote import Store
from tests.small_runs import still
from tests.stores import run

pytestmark = pytest.mark.usefixtures("quick_store")


def test_a_download_that_fails_is_a_failed_record_and_a_full_disk_is_not(tmp_path, monkeypatch):
    for seed in range(3):
        Store("memory://failing/data").send(still(tmp_path / "x.png", seed), f"{seed}.png")
    own = Store.fetch

    def failing(self: Store, name: str, path: Path) -> None:
        if name == "1.png":
            raise StorageError("memory://failing/data/1.png: cannot download it (timed out)")
        own(self, name, path)

    monkeypatch.setattr(Store, "fetch", failing)
    result = run("memory://failing/data", str(tmp_path / "run"))
    assert (result.counts.ok, result.counts.failed) == (2, 1)
    assert "cannot download it (timed out)" in result.counts.failures[0]["error"]

    def full(self: Store, name: str, path: Path) -> None:
        raise StorageError("no") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "fetch", full)
    with pytest.raises(StorageError, match="cannot keep downloads there"):
        run("memory://failing/data", str(tmp_path / "other"))


def test_downloads_of_dead_processes_are_removed(tmp_path):
    place = tmp_path / "cache" / "items"
    host = download.socket.gethostname()
    for name in (f"{host}-4999999/x", f"{host}-{os.getpid()}/y", "elsewhere-4999999/z"):
        (place / name).mkdir(parents=True)
    download._own_folder()
    left = sorted(p.name for p in place.glob("*/*"))
    assert left == ["y", "z"]
