"""What Ray costs against a run in this process, and what a second worker brings.

The same stills in this process and with one worker on Ray, by turns of one part each, so that both
meet the same machine; then with two workers. Each worker has one thread. Until the workers are
ready nothing is counted. Where other work runs on the machine, wall times mean little.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from PIL import Image as PilImage
from scipy.stats import quantile_test

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.discover import fingerprints, listing
from annotate.discover.class_list import load_prompts
from annotate.record.run_folder import Run
from annotate.runner.build import build_worker
from annotate.runner.units import Step, Unit, cut
from annotate.synthetic.still import draw_still

PROMPTS = ["red circle", "blue triangle", "green square"]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of some stills."""

    wall: float
    processor: float  # in this process and the workers
    daemons: float  # processor, meanwhile, in Ray's own processes


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), _processor_s()

    def took(self) -> Took:
        working, others = _processor_s()
        wall = time.perf_counter() - self._wall
        return Took(wall, working - self._processor[0], others - self._processor[1])


class Turns:
    """Two runs in threads of their own, of which one works at a time, a part of `size` items."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._turn = threading.Condition()
        self._whose = 0
        self._ended = [False, False]
        self._done = [0, 0]
        self._clock = Clock()
        self.took: tuple[list[Took], list[Took]] = ([], [])

    def run(self, works: Sequence[Callable[[Callable[[Step], None]], None]]) -> None:
        """Call both with what they must call after each step; end when both have."""
        threads = [threading.Thread(target=self._one, args=(n, w)) for n, w in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _one(self, number: int, work: Callable[[Callable[[Step], None]], None]) -> None:
        def on_step(step: Step) -> None:
            self._done[number] += step.items
            if step.items and self._done[number] % self._size == 0:
                self.took[number].append(self._clock.took())
                self._pass_on(number)
                self._wait(number)

        self._wait(number)
        try:
            work(on_step)
        finally:
            self._ended[number] = True
            self._pass_on(number)

    def _wait(self, number: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._whose == number)
        self._clock = Clock()

    def _pass_on(self, number: int) -> None:
        with self._turn:
            if not self._ended[1 - number]:
                self._whose = 1 - number
            self._turn.notify_all()


def make_stills(folder: Path, count: int) -> None:
    for seed in range(count):
        combos = [("red", "circle"), ("blue", "triangle"), ("green", "square")]
        scene = draw_still(seed, (192, 144), combos=combos)
        PilImage.fromarray(scene.image).save(folder / f"{seed:05d}.png")


def settings(data: Path, workers: int, *more: str) -> AnnotateCommand:
    argv = [
        f"dataset={data}", f"prompts=[{','.join(PROMPTS)}]", "models=tiny", "runner.threads=1",
        f"ray.workers={workers}", "executor=ray", *more,
    ]  # fmt: skip
    return typed(compose(argv, "config"), AnnotateCommand)


def in_process(asked: AnnotateCommand) -> Any:
    return build_worker(asked, load_prompts(PROMPTS))


def on_ray(asked: AnnotateCommand) -> Any:
    import ray

    from annotate.runner.ray_executor import Cluster

    cluster = Cluster(asked, load_prompts(PROMPTS))
    ray.get([actor.ready.remote() for actor in cluster._actors])
    return cluster


def work(executor: Any, asked: AnnotateCommand, data: Path, out: Path) -> Callable[..., None]:
    """A run into an empty folder, still to be called with `on_step`."""
    found = listing.discover(str(data))
    units: list[Unit] = cut(found.items, asked.runner.part_items)
    seen = {item.name: fingerprints.fingerprint(item) for item in found.items}
    run = Run(out, data, load_prompts(PROMPTS))
    run.records_dir.mkdir(parents=True)
    return lambda on_step: executor.run(units, run, seen, on_step)


def _processor_s() -> tuple[float, float]:
    """Of this process and the workers, and of all others below it."""
    own = psutil.Process()
    working = others = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times, command = process.cpu_times(), process.cmdline()
        except psutil.Error:
            continue
        if process == own or (command and command[0].startswith("ray::_Actor")):
            working += times.user + times.system
        else:
            others += times.user + times.system
    return working, others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stills", type=int, default=512, help="in whole parts")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("overrides", nargs="*", help="such as runner.part_items=16")
    asked = parser.parse_args()
    size = settings(Path(), 1, *asked.overrides).runner.part_items
    if asked.stills % size:
        parser.error(f"--stills {asked.stills} does not fill whole parts of {size}")
    torch.set_num_threads(1)
    own, one, two = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        make_stills(data, asked.stills)
        for turn in range(asked.repeats):
            alone, pair = (settings(data, n, *asked.overrides) for n in (1, 2))
            local, cluster = in_process(alone), on_ray(alone)
            turns = Turns(size)
            turns.run(
                [
                    work(local, alone, data, Path(folder) / f"{turn}-own"),
                    work(cluster, alone, data, Path(folder) / f"{turn}-one"),
                ]
            )
            own += turns.took[0]
            one += turns.took[1]
            both = work(on_ray(pair), pair, data, Path(folder) / f"{turn}-two")
            two.append(_to_the_last(both))
            print(turn, *turns.took, two[-1], sep="\n", flush=True)
    print("\n| workers | stills / s | processor, ms / still | Ray's own, ms / s |")
    print("|---|---|---|---|")
    for name, runs, stills in [
        ("in this process", own, size),
        ("Ray, 1", one, size),
        ("Ray, 2", two, asked.stills),
    ]:
        rate = stills / median(t.wall for t in runs)
        processor_ms = median(t.processor for t in runs) / stills * 1000
        daemons_ms = median(t.daemons / t.wall for t in runs) * 1000
        print(f"| {name} | {rate:.2f} | {processor_ms:.1f} | {daemons_ms:.0f} |")
    walls = sorted(a.wall / b.wall for a, b in zip(one, own, strict=True))
    processors = median(a.processor / b.processor for a, b in zip(one, own, strict=True))
    in_all = [sum(took.wall for took in runs) for runs in (own, one, two)]
    print(f"\nOne worker on Ray against this process, by {len(walls)} pairs of parts: median")
    print(f"{median(walls):.3f} of the wall time ({walls[0]:.3f} to {walls[-1]:.3f}; the median")
    low, high = quantile_test(walls, p=0.5).confidence_interval(0.95)
    print(f"lies {low:.3f} to {high:.3f} with 95 % confidence),")
    print(f"{processors:.3f} of the processor time; in all it took")
    print(f"{in_all[1] / in_all[0]:.3f} of the wall time.")
    print(f"Two workers against one: {in_all[1] / in_all[2]:.2f} times as fast.")
    load = " ".join(f"{v:.1f}" for v in psutil.getloadavg())
    print(f"{psutil.cpu_count()} cores; load of the machine over 1, 5, 15 min: {load}")


def _to_the_last(run: Callable[..., None]) -> Took:
    """What a run takes until its last part: Ray's processes end with it."""
    clock = Clock()
    took = clock.took()

    def on_step(_: Step) -> None:
        nonlocal took
        took = clock.took()

    run(on_step)
    return took


if __name__ == "__main__":
    main()
