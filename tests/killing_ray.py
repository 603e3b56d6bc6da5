"""Kill the workers of a Ray run, compare what it makes with a local run, byte for byte.

`python -m tests.killing_ray --random 100 --steps 60` is the long version (`make soak`); tests run a
short one. Workers die at random moments and just before their changes of files; the run goes on.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

import psutil

from annotate import job
from tests.killing import arguments, left_behind, make_dataset, settings, tree

FAULTS = Path(__file__).parent / "faults"


def run(work: Path, dataset: Path, deaths: list[int], kills: int, seed: int) -> tuple[int, int]:
    """A run on two workers; its exit code, and how many of `kills` random kills were done.

    `deaths` are the changes of files before which workers die, one after another.
    """
    fates = work / "deaths"
    fates.mkdir()
    for step in deaths:
        (fates / f"{step:04d}").touch()
    out = work / "ray"
    environment = {
        **os.environ,
        "ANNOTATE_DEATHS": str(fates), "ANNOTATE_DEATHS_IN": str(out / "records"),
        "PYTHONPATH": os.pathsep.join([str(FAULTS), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    command = ["-m", "annotate", *arguments(dataset, out), "executor=ray", "ray.workers=2"]
    with (work / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=log, stderr=log
        )
        rng, done = random.Random(seed), 0
        while True:
            try:
                return process.wait(timeout=rng.uniform(1, 5) if done < kills else None), done
            except subprocess.TimeoutExpired:
                done += _kill_one(process.pid, rng)


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


def compare(work: Path, *, stills: int, deaths: list[int], kills: int, seed: int = 0) -> list[str]:
    """What is wrong after all: names of files that differ or should not be there."""
    work.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(work / "data", stills)
    job.annotate_dataset(settings(dataset, work / "local"))
    code, done = run(work, dataset, deaths, kills, seed)
    left = len(list((work / "deaths").iterdir()))
    print(f"workers died before {len(deaths) - left} changes of files and at {done} random moments")
    if code:
        return [f"exit code {code}: {(work / 'ray.log').read_text()[-2000:]}"]
    local, made = tree(work / "local"), tree(work / "ray")
    different = [name for name in local.keys() | made if local.get(name) != made.get(name)]
    return sorted(different) + left_behind(work / "ray")


def main() -> None:
    """Print how often workers died, and every file that differs from a local run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--random", type=int, default=100, help="random moments")
    parser.add_argument("--steps", type=int, default=30, help="the first n changes of a worker")
    parser.add_argument("--stills", type=int, default=300)
    asked = parser.parse_args()
    wrong = compare(
        asked.work.resolve(), stills=asked.stills, deaths=list(range(1, asked.steps + 1)),
        kills=asked.random,
    )  # fmt: skip
    print("\n".join(wrong) or "the same bytes as the local run, nothing left behind")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
