"""Files on a store: there and back, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from annotate.discover import listing
from annotate.errors import ConfigError, StorageError
from annotate.store import remote
from annotate.store.remote import Store

pytestmark = pytest.mark.usefixtures("quick_store")
NAMES = ["a.txt", "ü ä/日本.txt", "a#b?c [1] %20&d.txt", "deep/er/x"]


def test_files_go_there_and_come_back_whatever_their_names(place, tmp_path):
    there = Store(place)
    assert there.files() == {}
    for name in NAMES:
        (tmp_path / "sent").write_text(name)
        there.send(tmp_path / "sent", name)
    assert set(there.files()) == set(NAMES)
    assert set(there.files("deep")) == {"deep/er/x"}
    assert set(there.files(depth=1)) == {NAMES[0], NAMES[2]}
    for name in NAMES:
        there.fetch(name, tmp_path / "come")
        assert (tmp_path / "come").read_text() == name
        assert there.look(name) == there.files()[name]
        there.remove(name)
        there.remove(name)
    assert there.files() == {}
    with pytest.raises(FileNotFoundError):
        there.fetch("a.txt", tmp_path / "come")


def test_only_the_first_creates(place):
    assert [Store(place).create("x", text) for text in ("one", "two")] == [True, False]
    assert Store(place).read_text("x") == "one"


def test_what_does_not_arrive_leaves_nothing_and_is_tried_again(tmp_path, monkeypatch):
    there = Store("memory://flaky")
    there.write_text("x", "whole")
    system, _ = remote._opened("memory://flaky")
    own, calls = type(system).get_file, []

    def flaky(self: Any, source: str, target: str, **more: Any) -> None:
        own(self, source, target, **more)
        calls.append(source)
        if len(calls) < 2:
            raise TimeoutError("slow")

    monkeypatch.setattr(type(system), "get_file", flaky)
    there.fetch("x", tmp_path / "come")
    assert (tmp_path / "come").read_text() == "whole"
    calls.clear()
    monkeypatch.setattr(remote, "WAITS_S", ())
    with pytest.raises(StorageError, match=r"flaky/x: cannot download it \(slow\)"):
        there.fetch("x", tmp_path / "again")
    assert [p.name for p in tmp_path.iterdir()] == ["come"]


def test_a_missing_package_is_one_line_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs://b/x: .*gcsfs.*pip install 'annotate\[cloud\]'"):
        listing.discover("gs://b/x")
    remote.allow(["nosuch"])
    with pytest.raises(ConfigError, match="no store that can be opened"):
        listing.discover("nosuch://b/x")


def test_a_run_on_this_machine_asks_nothing_of_fsspec():
    script = (
        "import sys, annotate.export, annotate.runner.job\n"
        "from annotate.discover.listing import discover\n"
        "discover(sys.argv[1]); assert 'fsspec' not in sys.modules"
    )
    folder = Path(__file__).parents[2] / "docs"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=60)
