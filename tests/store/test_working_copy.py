"""A run folder on a store and its copy here: only what differs is moved, in a safe order."""

from __future__ import annotations

import os
from typing import Any

import pytest

from annotate.errors import ConfigError
from annotate.store.remote import Store
from annotate.store.working_copy import WorkingCopy
from tests.stores import files, made, run, upload

pytestmark = pytest.mark.usefixtures("quick_store")


def test_only_what_differs_is_moved(tmp_path, monkeypatch):
    url = "memory://differs/run"
    one = WorkingCopy(url)
    for name in ("config.yaml", "records/a.parquet", "exports/coco/x.json", ".hidden.tmp"):
        (one.path / name).parent.mkdir(parents=True, exist_ok=True)
        (one.path / name).write_text(name)
    one.push()
    assert set(files(url)) == {"config.yaml", "records/a.parquet", "exports/coco/x.json"}
    sent: list[str] = []
    own = Store.send
    monkeypatch.setattr(
        Store, "send", lambda self, path, name: sent.append(name) or own(self, path, name)
    )
    os.utime(one.path / "exports/coco/x.json", ns=(1, 1))  # written again with the same content
    (one.path / "config.yaml").write_text("changed")
    (one.path / "records/a.parquet").unlink()
    one.push("exports")
    assert (sent, len(files(url))) == ([], 3)
    one.push()
    assert sent == ["config.yaml"]
    assert set(files(url)) == {"config.yaml", "exports/coco/x.json"}
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    two = WorkingCopy(url)
    two.pull()
    assert (two.path / "config.yaml").read_text() == "changed"
    assert not (two.path / "exports").exists(), "it is made again from the records"
    two.push()
    assert set(files(url)) == {"config.yaml"}, "an export that was not made again is gone"


def test_a_folder_here_that_is_out_of_date_gives_way_to_the_store(photos, tmp_path, monkeypatch):
    data, out = upload(photos, "memory://stale/photos"), "memory://stale/run"
    run(data, out)
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    run(data, out, "ground.floor=0.2", "on_change=redo")
    expected = made(out)
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "cache"))
    (WorkingCopy(out).path / "records" / "part-999999-x.parquet").write_bytes(b"not sent in time")
    with pytest.raises(ConfigError, match=r"ground\.floor: was 0\.2, is 0\.1"):
        run(data, out)
    assert run(data, out, "ground.floor=0.2").items["new"] == 0
    assert made(out) == expected


def test_nothing_is_on_the_store_before_what_it_depends_on(monkeypatch):
    copy = WorkingCopy("memory://ordered/run")
    names = [
        "config.yaml", "classes.yaml", "weights.yaml", "stamps/b.json", "unfinished/b/state",
        "records/b.parquet", "exports/coco/x.json", "summary.json",
    ]  # fmt: skip
    for name in ("records/a.parquet", "exports/coco/y.json"):
        (copy.path / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.path / name).write_text(name)
    copy.push()
    for name in ("records/a.parquet", "exports/coco/y.json"):
        (copy.path / name).unlink()
    for name in names:
        (copy.path / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.path / name).write_text(name)
    done: list[str] = []
    for act in ("send", "remove"):
        own = getattr(Store, act)

        def noted(self: Store, *given: Any, own: Any = own, act: str = act) -> None:
            done.append(f"{act} {given[-1]}")
            own(self, *given)

        monkeypatch.setattr(Store, act, noted)
    copy.push()
    assert done == [
        "remove records/a.parquet",  # or it would be taken for one that the fingerprints are of
        *(f"send {name}" for name in names),
        "remove exports/coco/y.json",
    ]
