"""What Ray costs against a run in this process, and what a second worker brings.

The same stills, interleaved: in this process, with one worker on Ray, with two. Each worker has one
thread. Wall times are of the units alone, then with the start of Ray and the loading of models. On
a machine that is busy with other work they mean little; processor times still compare: those of
the processes that annotate, and those of Ray's own, which take the same per second whatever is
done.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from PIL import Image as PilImage

from annotate import dataset, stamps
from annotate.assemble import build_worker
from annotate.config import AnnotateCommand, compose, typed
from annotate.plan import Step, Unit, cut
from annotate.prompts import load_prompts
from annotate.run_folder import Run
from annotate.scenes import draw_still

PROMPTS = ["red circle", "blue triangle", "green square"]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one run."""

    work: float
    whole: float  # with the start
    processor: float  # of the work, in this process and the workers
    daemons: float  # processor, meanwhile, in Ray's own processes


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

    from annotate.ray_runner import Cluster

    cluster = Cluster(asked, load_prompts(PROMPTS))
    ray.get([actor.ready.remote() for actor in cluster._actors])
    return cluster


def measure(
    start: Callable[[AnnotateCommand], Any], asked: AnnotateCommand, data: Path, out: Path
) -> Took:
    """One run into an empty folder."""
    begun = time.perf_counter()
    executor = start(asked)
    found = dataset.discover(str(data))
    units: list[Unit] = cut(found.items, asked.runner.part_items)
    seen = {item.name: stamps.stamp(item) for item in found.items}
    run = Run(out, data, load_prompts(PROMPTS))
    run.records_dir.mkdir(parents=True)
    before, ready = _processor_s(), time.perf_counter()
    after = before

    def on_step(_: Step) -> None:  # Ray's processes end with the run, so they are asked before
        nonlocal after
        after = _processor_s()

    executor.run(units, run, seen, on_step)
    end = time.perf_counter()
    return Took(end - ready, end - begun, after[0] - before[0], after[1] - before[1])


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
    parser.add_argument("--stills", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="such as runner.part_items=16")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {"in this process": (in_process, 1), "Ray, 1": (on_ray, 1), "Ray, 2": (on_ray, 2)}
    took: dict[str, list[Took]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "data"
        data.mkdir()
        make_stills(data, asked.stills)
        for turn in range(asked.repeats):
            for name, (start, workers) in kinds.items():
                out = Path(work) / f"{turn}-{name}"
                given = settings(data, workers, *asked.overrides)
                took[name].append(measure(start, given, data, out))
                print(turn, name, took[name][-1], flush=True)
    print("\n| workers | stills / s | with the start | processor, ms / still | Ray's own, ms / s |")
    print("|---|---|---|---|---|")
    for name, runs in took.items():
        work_s, whole_s = median(t.work for t in runs), median(t.whole for t in runs)
        cpu_ms = median(t.processor for t in runs) / asked.stills * 1000
        rates = f"{asked.stills / work_s:.2f} | {asked.stills / whole_s:.2f}"
        daemons_ms = median(t.daemons / t.work for t in runs) * 1000
        print(f"| {name} | {rates} | {cpu_ms:.1f} | {daemons_ms:.0f} |")

    def ratio(one: str, other: str, of: Callable[[Took], float]) -> float:
        """The median over turns, in each of which both met the same machine."""
        return median(of(a) / of(b) for a, b in zip(took[one], took[other], strict=True))

    own, one, two = kinds
    print(f"\nRay against this process, one worker: {ratio(one, own, lambda t: t.work):.3f} of the")
    print(f"wall time, {ratio(one, own, lambda t: t.processor):.3f} of the processor time; with")
    print(f"the start {ratio(one, own, lambda t: t.whole):.3f} of the wall time.")
    print(f"Two workers against one: {ratio(one, two, lambda t: t.work):.2f} times as fast.")
    load = " ".join(f"{v:.1f}" for v in psutil.getloadavg())
    print(f"{psutil.cpu_count()} cores; load of the machine over 1, 5, 15 min: {load}")


if __name__ == "__main__":
    main()
