"""Kill the workers of a Ray run, compare what it makes with a local run, byte for byte.

`python -m tests.killing_ray --random 100` is the long version (`make soak`); tests run a short one.
Workers die at random moments, and just before each change of files that a part of stills and a part
of a video take; the run goes on. One that has lost all of its workers ends and says so, and is
started again.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil

from annotate.discover.class_list import load_prompts
from annotate.discover.fingerprints import fingerprint
from annotate.discover.listing import discover
from annotate.record.run_folder import Run
from annotate.runner import job
from annotate.runner.build import build_worker
from annotate.runner.ray_executor import NONE_LEFT
from annotate.runner.units import cut
from tests.faults.sitecustomize import watch_changes
from tests.killing import PROMPTS, arguments, left_behind, make_dataset, settings, tree

FAULTS = Path(__file__).parent / "faults"
# Between two kills: short enough to hit workers as they start, long enough to hit them at work.
KILL_EVERY_S = (1.0, 25.0)


class Killing:
    """One dataset, what a local run makes of it, and runs on two workers that keep dying."""

    def __init__(self, work: Path, stills: int, clips: int = 1, seed: int = 0) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self._dataset = make_dataset(work / "data", stills, clips)
        job.annotate_dataset(settings(self._dataset, work / "local"))
        self._rng = random.Random(seed)
        self.by_chance = 0  # workers killed at random moments
        self.at_changes = 0  # and before changes of files
        self.restarts = 0  # of the command, as after a run that had lost all of its workers

    def round(self, name: str, *, deaths: list[int], kills: int) -> list[str]:
        """A run with at most that many kills; names of files that differ or should not be there.

        `deaths` are the changes of files before which workers die, one after another.
        """
        fates = self.work / f"deaths-{name}"
        fates.mkdir()
        for step in deaths:
            (fates / f"{step:04d}").touch()
        out, log = self.work / f"ray-{name}", self.work / f"ray-{name}.log"
        wanted = self.by_chance + kills
        while True:
            before = self.by_chance
            code = self._run(out, fates, log, wanted)
            lost_all = code == 2 and NONE_LEFT in log.read_text()
            if not lost_all or self.by_chance == before:  # without a kill that is a fault
                break
            self.restarts += 1
        self.at_changes += len(deaths) - len(list(fates.iterdir()))
        if code:
            return [f"exit code {code}: {log.read_text()[-2000:]}"]
        local, made = tree(self.work / "local"), tree(out)
        different = [n for n in local.keys() | made if local.get(n) != made.get(n)]
        return sorted(different) + left_behind(out)

    def _run(self, out: Path, fates: Path, log: Path, wanted: int) -> int:
        """The command once, to its end, while workers are killed; its exit code."""
        environment = {
            **os.environ,
            "ANNOTATE_DEATHS": str(fates), "ANNOTATE_DEATHS_IN": str(out),
            "PYTHONPATH": os.pathsep.join([str(FAULTS), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        command = ["-m", "annotate", *arguments(self._dataset, out), "executor=ray"]
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *command, "ray.workers=2"],
                env=environment, stdout=file, stderr=file,
            )  # fmt: skip
            while True:
                moment = self._rng.uniform(*KILL_EVERY_S) if self.by_chance < wanted else None
                try:
                    return process.wait(timeout=moment)
                except subprocess.TimeoutExpired:
                    self.by_chance += _kill_one(process.pid, self._rng)


def _kill_one(driver: int, rng: random.Random) -> int:
    """Kill one actor below a driver, if there is any; how many that were."""
    try:
        below = psutil.Process(driver).children(recursive=True)
        actors = [p for p in below if p.cmdline()[:1] and p.cmdline()[0].startswith("ray::_Actor")]
        if actors:
            rng.choice(actors).kill()
        return min(1, len(actors))
    except psutil.NoSuchProcess:
        return 0


def changes_of_a_unit(work: Path, *, stills: int, clips: int) -> int:
    """How many changes of files a worker makes over the first unit of such a dataset."""
    dataset = make_dataset(work / "data", stills, clips)
    asked, classes = settings(dataset, work / "run"), load_prompts(PROMPTS)
    (unit, *_) = cut(discover(str(dataset)).items, asked.runner.part_items)
    run = Run(work / "run", dataset, classes)
    run.records_dir.mkdir(parents=True)
    worker, count = build_worker(asked, classes), 1  # the first opens the log

    def on_change() -> None:
        nonlocal count
        count += 1

    watch_changes(str(run.path), on_change)
    worker.do(unit, run, {i.name: fingerprint(i) for i in unit.items}, lambda step: None)
    return count


def at_random(work: Path, kills: int) -> Iterator[tuple[Killing, list[str]]]:
    """Runs in which workers die at random moments, until that many have."""
    killing, runs = Killing(work, stills=600), 0
    while killing.by_chance < kills:
        yield killing, killing.round(str(runs), deaths=[], kills=kills - killing.by_chance)
        runs += 1


def at_every_change(work: Path) -> Iterator[tuple[Killing, list[str]]]:
    """A run of stills and one of clips, with a death before each change that a unit takes.

    There are more units than deaths, so that each worker meets one that nobody has begun.
    """
    for kind, (stills, clips) in {"stills": (3, 0), "clips": (0, 1)}.items():
        changes = changes_of_a_unit(work / f"one-of-{kind}", stills=stills, clips=clips)
        killing = Killing(work / kind, stills * (changes + 2), clips * (changes + 2))
        wrong = killing.round("0", deaths=list(range(1, changes + 1)), kills=0)
        if killing.at_changes < changes:
            wrong.append(f"{kind}: nobody died before {changes - killing.at_changes} changes")
        yield killing, wrong


def main() -> None:
    """Print how often workers died, and every file that differs from a local run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--random", type=int, default=100, help="random moments, 0 for none")
    parser.add_argument("--every-change", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    work = asked.work.resolve()
    rounds = [at_random(work / "random", asked.random)] if asked.random else []
    rounds += [at_every_change(work)] if asked.every_change else []
    for killing, wrong in chain(*rounds):
        print(
            f"workers died before {killing.at_changes} changes of files and at "
            f"{killing.by_chance} random moments; {killing.restarts} times none was left",
            flush=True,
        )
        if wrong:
            sys.exit("\n".join(wrong))
    print("the same bytes as the local run, nothing left behind")


if __name__ == "__main__":
    main()
