"""The same units of work on Ray actors that hold the models, on one machine or on a cluster.

Actors write the parts themselves, so the dataset and the run folder must lie at the same paths on
every node. Which actor does a unit, how often it was lost on the way and in which order units end
changes neither the names nor the bytes of their parts.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ray
import torch
from ray._private import ray_constants
from ray.exceptions import RayError, RayTaskError

from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList, Item
from annotate.discover.fingerprints import Fingerprint
from annotate.errors import AnnotateError, ConfigError, StorageError
from annotate.record import parquet, versions
from annotate.record.run_folder import Run
from annotate.runner import log_file
from annotate.runner.build import build_worker
from annotate.runner.pipeline import failed_record
from annotate.runner.units import Step, Unit
from annotate.runner.worker import Worker
from annotate.store.remote import allow

log = logging.getLogger(__name__)

LOSSES = 5  # of workers over one unit, until the unit is taken for the reason
FALSE_STARTS = 5  # of one worker in a row, until it is given up
NONE_LEFT = "no worker is left on the Ray cluster; see its logs, and run the same command to go on"


@dataclass(frozen=True, slots=True)
class Made:
    """What decides a worker's records, beside what it is asked."""

    weights: dict[str, Any]  # by role
    program: str
    libraries: dict[str, str]  # versions by name


class Cluster:
    """An executor whose workers are Ray actors; see `ray:` in conf/config.yaml."""

    def __init__(self, settings: AnnotateCommand, classes: ClassList) -> None:
        """Connects to the cluster, or starts one, and loads the models. Raises ConfigError."""
        _connect(settings)
        gpus, count = _share_of_gpus(settings), settings.ray.workers
        count = count or max(1, int(ray.cluster_resources().get("GPU", 0) / gpus) if gpus else 1)
        # As many threads as this process would take: sums round otherwise with other numbers.
        threads = settings.runner.threads or torch.get_num_threads()
        settings = replace(settings, runner=replace(settings.runner, threads=threads))
        actor = ray.remote(num_cpus=settings.ray.cpus, num_gpus=gpus)(_Actor)
        self._start: Callable[[], Any] = lambda: actor.remote(settings, classes, str(Path.cwd()))
        self._actors = [self._start() for _ in range(count)]
        log.info("%d workers on Ray, %g CPUs and %g GPUs each", count, settings.ray.cpus, gpus)
        self.seconds: Counter[str] = Counter()
        self.scaled: Counter[str] = Counter()

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """Which weights the workers hold, by role; told by the first that has loaded them.

        One that is lost meanwhile is replaced. Raises StorageError when none can be kept.
        """
        waiting = {actor.ready.remote(): number for number, actor in enumerate(self._actors)}
        for _ in range(FALSE_STARTS * len(self._actors)):
            (answer,), _ = ray.wait(list(waiting))
            number = waiting.pop(answer)
            try:
                first: Made = _result(answer)
                return first.weights
            except RayError as error:
                log.warning("worker %d was lost: %s", number, str(error).split("\n")[0])
                waiting[self._replaced(number).ready.remote()] = number
        raise StorageError(NONE_LEFT)

    def run(
        self,
        units: Sequence[Unit],
        run: Run,
        seen: Mapping[str, Fingerprint],
        on_step: Callable[[Step], None],
    ) -> None:
        """Do all units. A worker that is lost costs the unit it was at, which is done again."""
        shared = replace(run, path=run.path.absolute())
        queue = deque(map(_absolute, units))
        losses: Counter[str] = Counter()
        false_starts: Counter[int] = Counter()
        idle: list[int] = []
        # What each actor is at: a unit, or getting ready, by the reference of its answer.
        busy: dict[Any, tuple[int, Unit | None]]
        busy = {actor.ready.remote(): (n, None) for n, actor in enumerate(self._actors)}
        try:
            while queue or any(unit for _, unit in busy.values()):
                while queue and idle:
                    number, todo = idle.pop(), queue.popleft()
                    known = {item.name: seen.get(item.name) for item in todo.items}
                    busy[self._actors[number].do.remote(todo, shared, known)] = number, todo
                (answer,), _ = ray.wait(list(busy))
                number, unit = busy.pop(answer)
                try:
                    said = _result(answer)
                except RayError as error:
                    log.warning("worker %d was lost: %s", number, str(error).split("\n")[0])
                    if unit is not None:
                        queue.extend(self._again(unit, losses, shared, on_step))
                    else:
                        false_starts[number] += 1
                    if false_starts[number] < FALSE_STARTS:
                        busy[self._replaced(number).ready.remote()] = number, None
                    elif not busy and not idle:
                        raise StorageError(NONE_LEFT) from error
                    continue
                false_starts[number] = 0
                idle.append(number)
                if unit is None:
                    self._check_same(number, said)
                else:
                    step, seconds, scaled = said
                    self.seconds.update(seconds)
                    self.scaled.update(scaled)
                    on_step(step)
        finally:
            for actor in self._actors:
                ray.kill(actor)
            ray.shutdown()

    def _replaced(self, number: int) -> Any:
        """A new actor in the place of one that was lost, or that cannot be reached."""
        ray.kill(self._actors[number])
        self._actors[number] = self._start()
        return self._actors[number]

    def _check_same(self, number: int, theirs: Made) -> None:
        """Raises ConfigError where a worker would make other records than this process."""
        if theirs.weights != dict(self.provenance):
            raise ConfigError(
                "the nodes of the Ray cluster hold different weights, or devices of another kind; "
                "fetch the same weights on each with `python -m annotate.models action=pull`, and "
                "say device="
            )
        if theirs.program != (ours := versions.program()):
            raise ConfigError(
                f"a node of the Ray cluster has annotate {theirs.program}, this process "
                f"has {ours}; install the same version on each"
            )
        for name, version in versions.libraries().items():
            if (other := theirs.libraries[name]) != version:
                log.warning(
                    "worker %d has %s %s, this process %s: records may differ in last digits",
                    number, name, other, version,
                )  # fmt: skip

    def _again(
        self, unit: Unit, losses: Counter[str], run: Run, on_step: Callable[[Step], None]
    ) -> list[Unit]:
        """The unit once more; after `LOSSES` its items one by one, then a record of the failure."""
        losses[unit.part] += 1
        if losses[unit.part] < LOSSES:
            return [unit]
        if len(unit.items) > 1:
            return [replace(unit, items=(item,)) for item in unit.items]
        reason = f"its worker died {LOSSES} times"
        log.warning("%s: %s", unit.items[0].name, reason)
        parquet.write_part(run.records_dir, unit.part, [failed_record(unit.items[0], reason)])
        run.push_part(unit.part)
        on_step(Step(items=1, failed=1))
        return []


class _Actor:
    """A worker in a process of its own. Its models are loaded with the first call, so that what is
    wrong with them is that call's error and no death."""

    def __init__(self, settings: AnnotateCommand, classes: ClassList, folder: str) -> None:
        if Path(folder).is_dir():  # for what the settings name relative to it
            os.chdir(folder)
        allow(settings.store.protocols)
        self._settings = settings
        self._classes = classes

    @cached_property
    def _worker(self) -> Worker:
        return build_worker(self._settings, self._classes)

    def ready(self) -> Made:
        """What it works with, once that is loaded."""
        return Made(dict(self._worker.provenance), versions.program(), versions.libraries())

    def do(
        self, unit: Unit, run: Run, seen: Mapping[str, Fingerprint]
    ) -> tuple[Step, Mapping[str, float], Mapping[str, int]]:
        """Do a unit; what it amounts to, the seconds of each stage, and what was scaled how."""
        if (working_copy := run.working_copy) is not None:
            # In this machine's own folder; what another one has come to in a video is brought here.
            run = replace(run, path=working_copy.path)
            run.path.mkdir(parents=True, exist_ok=True)
            if unit.is_video:
                working_copy.pull(f"unfinished/{unit.part}")
        log_file.write_to(run.path / "run.log")
        before, scaled_before = Counter(self._worker.seconds), Counter(self._worker.scaled)
        steps: list[Step] = []
        self._worker.do(unit, run, seen, steps.append)
        took = {k: v - before[k] for k, v in self._worker.seconds.items()}
        return sum(steps, Step()), took, self._worker.scaled - scaled_before


def _connect(settings: AnnotateCommand) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    asked = settings.ray
    own = {} if asked.address else {"num_cpus": _cpus(asked.workers * asked.cpus)}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    if not asked.address:
        # As on a Mac: what is started here listens on loopback alone. Elsewhere Ray takes the
        # machine's address, and has no argument for another.
        ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address=asked.address or "local",
            include_dashboard=None if asked.address else False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            **own,
        )
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"ray.address={asked.address}: cannot connect ({reason})") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there


def _cpus(needed: float) -> int:
    """CPUs of a cluster on this machine, which may be asked for more workers than it has."""
    return max(os.cpu_count() or 1, math.ceil(needed))


def _share_of_gpus(settings: AnnotateCommand) -> float:
    if settings.ray.gpus is not None:
        return settings.ray.gpus
    return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0


def _absolute(unit: Unit) -> Unit:
    """With paths that mean the same in every process."""

    def absolute(item: Item) -> Item:
        return item if item.remote else replace(item, path=item.path.absolute())

    return replace(unit, items=tuple(map(absolute, unit.items)))


def _result(answer: Any) -> Any:
    """What a call came to. What the user can mend is raised as it was there."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, AnnotateError):
            raise error.cause from None
        raise RuntimeError(f"a worker failed: {error}") from error
