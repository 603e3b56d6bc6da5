"""Stores for tests: an S3 on loopback, folders and memory; runs on them, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.decode import download
from annotate.runner import job
from annotate.store import remote, remote_lock
from annotate.store.remote import Store
from tests.killing import arguments, make_dataset, settings
from tests.s3_server import s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """An S3 on loopback with one empty bucket."""
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        remote._opened.cache_clear()
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
        yield environment
    remote._opened.cache_clear()


@pytest.fixture
def quick_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no long waits for a store."""
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS_S", (0.01,))
    monkeypatch.setattr(remote, "_named", {"memory"})
    monkeypatch.setattr(remote_lock, "BEAT_S", 0.2)
    monkeypatch.setattr(remote_lock, "LOOK_S", 0.02)
    download._own_folder.cache_clear()


@pytest.fixture(params=["memory", "file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The url of an empty place on a store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return f"s3://bucket/{tmp_path.name}"
    return f"{request.param}://{tmp_path}/store"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("photos") / "data", stills=5)


@pytest.fixture(scope="session")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run makes of the photos on this machine."""
    out = tmp_path_factory.mktemp("local") / "run"
    job.annotate_dataset(settings(photos, out))
    return out


def files(url: str) -> dict[str, bytes]:
    """Everything below a url."""
    system, base = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return {path[len(base) + 1 :]: system.cat_file(path) for path in system.find(base)}


def upload(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            Store(url).send(path, path.relative_to(folder).as_posix())
    return url


def made(url: str) -> dict[str, bytes]:
    """The records and exports of a run folder on a store."""
    found = files(url)
    return {name: found[name] for name in found if name.startswith(("records/", "exports/"))}


def run(data: str, out: str, *more: str) -> Any:
    argv = [*arguments(Path("data"), Path("out"))[2:], f"dataset={data}", f"out={out}", *more]
    return job.annotate_dataset(typed(compose(argv, "config"), AnnotateCommand))
