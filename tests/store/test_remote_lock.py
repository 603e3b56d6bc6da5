"""One writer of a run folder on a store, whichever machine it is on."""

from __future__ import annotations

import pytest

from annotate.errors import StorageError
from annotate.store.remote import Store
from annotate.store.working_copy import WorkingCopy
from tests.stores import files

pytestmark = pytest.mark.usefixtures("quick_store")


def test_a_living_writer_is_not_disturbed(monkeypatch, tmp_path):
    one = WorkingCopy("memory://alive/run")
    with one.held() as held:
        monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
        for other in (one, WorkingCopy("memory://alive/run", "1-of-2")):
            with pytest.raises(StorageError, match=r"process \d+ on .* is writing"), other.held():
                pass
        held.push()
    with one.held():
        pass
    assert files("memory://alive/run") == {}


def test_shards_hold_the_folder_side_by_side(tmp_path, monkeypatch):
    one, two = (WorkingCopy("memory://side/run", f"{k}-of-2") for k in (1, 2))
    with one.held(), two.held():
        monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
        with (
            pytest.raises(StorageError, match="is writing"),
            WorkingCopy("memory://side/run").held(),
        ):
            pass
    assert files("memory://side/run") == {}


def test_the_lock_of_a_dead_writer_is_taken_over(tmp_path, monkeypatch):
    there = Store("memory://dead/run")
    there.write_text(".lock", '{"holder": "process 1 on gone", "place": "p", "token": "t"}')
    there.write_text(".lock-1-of-2", "torn")
    with WorkingCopy("memory://dead/run").held():
        assert set(files("memory://dead/run")) == {".lock"}
    assert files("memory://dead/run") == {}


def test_who_was_taken_for_dead_writes_no_more():
    with WorkingCopy("memory://lost/run").held() as held:
        Store("memory://lost/run").write_text(".lock", '{"token": "another\'s"}')
        held.lock._beating.join(10)
        with pytest.raises(StorageError, match="has taken over this run folder"):
            held.push()
    assert set(files("memory://lost/run")) == {".lock"}, "it is the other's"
