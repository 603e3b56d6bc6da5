"""The same records and exports from Ray's workers, whatever happens to them."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from annotate.data.types import ClassList, Item
from annotate.errors import ConfigError, StorageError
from annotate.record import parquet, versions
from annotate.record.run_folder import Run
from annotate.runner import ray_executor
from annotate.runner.units import Step, Unit
from tests import killing_ray


@pytest.mark.timeout(900)  # five processes load the models; on busy cores that takes its time
def test_workers_that_die_under_way_change_no_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    killing = killing_ray.Killing(tmp_path, stills=6)
    assert killing.round("0", deaths=[4], kills=0) == []
    assert (killing.at_changes, killing.restarts) == (1, 0)


LISTENING = """
import psutil, sys
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.runner import ray_executor

ray_executor._connect(typed(compose(sys.argv[1:], "config"), AnnotateCommand))
me = psutil.Process()
for process in (me, *me.children(recursive=True)):
    for connection in process.net_connections("inet"):
        if connection.status == psutil.CONN_LISTEN:
            print("listens", process.name(), connection.laddr.ip)
"""


def test_what_ray_starts_here_listens_on_loopback_alone():
    argv = ["dataset=.", "prompts=[cat]", "models=tiny", "executor=ray", "ray.workers=1"]
    done = subprocess.run(
        [sys.executable, "-c", LISTENING, *argv], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("listens")]
    assert len(found) >= 3  # its store, its scheduler, this process
    assert {address.removeprefix("::ffff:") for address in found} == {"127.0.0.1"}


@pytest.fixture
def cluster(tmp_path):
    """The book-keeping of a cluster, without one."""
    made = object.__new__(ray_executor.Cluster)
    return SimpleNamespace(
        again=lambda unit, losses, steps: made._again(unit, losses, run, steps.append),
        run=(run := Run(tmp_path, tmp_path, ClassList(()))),
    )


def test_a_unit_that_kills_its_workers_is_taken_apart_and_then_recorded(cluster, tmp_path):
    items = tuple(Item(name, tmp_path / name) for name in ("a.png", "b.png"))
    unit, losses, steps = Unit(0, items), Counter(), []
    for _ in range(ray_executor.LOSSES - 1):
        assert cluster.again(unit, losses, steps) == [unit]
    alone = cluster.again(unit, losses, steps)
    assert [u.items for u in alone] == [items[:1], items[1:]]
    for _ in range(ray_executor.LOSSES - 1):
        assert cluster.again(alone[0], losses, steps) == [alone[0]]
    assert cluster.again(alone[0], losses, steps) == []
    assert steps == [Step(items=1, failed=1)]
    (record,) = parquet.read_records(cluster.run.records_dir)
    assert (record.item, record.status) == ("a.png", "failed")
    assert record.error == "its worker died 5 times"


@pytest.fixture
def worker():
    """What one says that works with the same as this process, but for what a test names."""
    same = ray_executor.Made({"ground": {"sha256": "a"}}, versions.program(), versions.libraries())
    return partial(replace, same)


def refuse_or_warn(said):
    made = object.__new__(ray_executor.Cluster)
    made.__dict__["provenance"] = {"ground": {"sha256": "a"}}
    made._check_same(3, said)


def test_workers_with_other_weights_are_refused(worker):
    refuse_or_warn(worker())
    with pytest.raises(ConfigError, match="hold different weights"):
        refuse_or_warn(worker(weights={"ground": {"sha256": "b"}}))


def test_workers_of_another_version_are_refused(worker):
    with pytest.raises(ConfigError, match=r"has annotate 0\.0\.1, this process has"):
        refuse_or_warn(worker(program="0.0.1"))


def test_workers_with_another_library_are_told_of(worker, caplog):
    refuse_or_warn(worker())
    assert not caplog.records
    refuse_or_warn(worker(libraries={**versions.libraries(), "torch": "0.4.1"}))
    (warning,) = caplog.messages
    assert warning.startswith("worker 3 has torch 0.4.1, this process ")


def test_what_the_user_can_mend_comes_back_as_it_was(monkeypatch):
    cause = StorageError("runs/x: cannot write records (No space left on device)")

    def get(answer):
        raise ray_executor.RayTaskError("do", "traceback", cause)

    monkeypatch.setattr(ray_executor.ray, "get", get)
    with pytest.raises(StorageError, match="No space left") as caught:
        ray_executor._result("answer")
    assert caught.value is cause


@pytest.mark.parametrize("losses", [0, 3, 99])
def test_a_worker_that_is_lost_while_it_loads_is_replaced(worker, monkeypatch, losses):
    made = object.__new__(ray_executor.Cluster)
    started: list[str] = []

    def start():
        started.append(f"answer {len(started)}")
        return SimpleNamespace(ready=SimpleNamespace(remote=lambda answer=started[-1]: answer))

    def get(answer):
        if int(answer.split()[1]) < losses:
            raise ray_executor.ray.exceptions.RayActorError
        return worker(weights={"ground": "weights"})

    monkeypatch.setattr(ray_executor.ray, "get", get)
    monkeypatch.setattr(ray_executor.ray, "wait", lambda answers: (answers[:1], answers[1:]))
    monkeypatch.setattr(ray_executor.ray, "kill", lambda actor: None)
    made._start, made._actors = start, [start(), start()]
    if losses < 99:
        assert made.provenance == {"ground": "weights"}
        assert len(started) == 2 + losses
    else:
        with pytest.raises(StorageError, match="no worker is left"):
            _ = made.provenance
        assert len(started) == 2 + 2 * ray_executor.FALSE_STARTS
