"""Long runs with the tiny models: does memory grow, do files stay open, does it slow down?

`python -m tests.soak --work FOLDER --stills 20000 --frames 10000` (part of `make soak`). Speed is
counted in processor time. Other work on the machine makes that longer too, through caches and
shared cores, so a yardstick that never changes is measured in between: speed is also told by it.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.discover.class_list import load_prompts
from annotate.report.video_writer import VideoWriter
from annotate.runner import job
from annotate.runner.build import build_worker
from annotate.runner.units import Step
from annotate.runner.worker import Worker
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still

PROMPTS = ["red circle", "blue triangle"]
COMBOS = [("red", "circle"), ("blue", "triangle")]
SCENES = 50  # different ones; the rest are the same again
MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """How the process stands after some work."""

    done: int
    seconds: float  # of processor time, the yardstick left out
    yardstick_s: float  # what the yardstick took of it so far
    yardsticks: int  # how often it was measured
    rss_mb: float
    open_files: int


class Yardstick:
    """The same small work again and again: how fast the machine is just now."""

    def __init__(self) -> None:
        self._picture = torch.ones(1, 64, 96, 96)
        self._kernel = torch.ones(64, 64, 3, 3)
        self.seconds, self.times = 0.0, 0

    def measure(self) -> None:
        begun = time.thread_time()
        torch.conv2d(self._picture, self._kernel)
        self.seconds, self.times = self.seconds + time.thread_time() - begun, self.times + 1


def write_stills(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    files = []
    for seed in range(SCENES):
        file = io.BytesIO()
        PilImage.fromarray(draw_still(seed, (64, 64), combos=COMBOS).image).save(file, "PNG")
        files.append(file.getvalue())
    for n in range(count):
        (folder / f"{n:06d}.png").write_bytes(files[n % SCENES])


def write_clip(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True)
    pictures = [Clip(4, (64, 64), combos=COMBOS, objects=2).frame(t).image for t in range(SCENES)]
    there_and_back = pictures + pictures[::-1]
    with VideoWriter(path, size_wh=(64, 64), fps=25) as video:
        for t in range(frames):
            video.add(there_and_back[t % len(there_and_back)], t / 25)


def watched(worker: Worker, every: int, samples: list[Sample]) -> Worker:
    """The worker, with a sample taken every so many frames."""
    whole, process, yardstick = worker.run, psutil.Process(), Yardstick()
    done = 0

    def run(units, run, seen, on_step: Callable[[Step], None]) -> None:
        def noted(step: Step) -> None:
            nonlocal done
            on_step(step)
            done += step.frames
            yardstick.measure()
            if step.frames and done % every == 0:
                used = process.memory_info().rss / MB
                spent = time.process_time() - yardstick.seconds
                now = (spent, yardstick.seconds, yardstick.times)
                samples.append(Sample(done, *now, used, process.num_fds()))

        whole(units, run, seen, noted)

    worker.run = run
    return worker


def report(name: str, samples: list[Sample]) -> None:
    """Memory and files over the second half, when all is warm; speed over first and last tenth."""
    half, tenth = samples[len(samples) // 2 :], max(1, len(samples) // 10)
    done = np.array([s.done for s in half])
    slope = np.polyfit(done, [s.rss_mb for s in half], 1)[0] * 1000

    def rates(first: Sample, last: Sample) -> tuple[float, float]:
        """Frames per second, and per yardstick."""
        rate = (last.done - first.done) / (last.seconds - first.seconds)
        yardstick_s = (last.yardstick_s - first.yardstick_s) / (last.yardsticks - first.yardsticks)
        return rate, rate * yardstick_s

    begin, begin_by = rates(samples[0], samples[tenth])
    end, end_by = rates(samples[-1 - tenth], samples[-1])
    print(
        f"{name}: {samples[-1].done} frames; memory {half[0].rss_mb:.0f} MB at half time, "
        f"{half[-1].rss_mb:.0f} MB at the end, slope {slope:+.2f} MB per 1,000; open files "
        f"{min(s.open_files for s in half)} to {max(s.open_files for s in half)}; "
        f"{begin:.2f} frames per second of processor time in the first tenth, {end:.2f} in the "
        f"last ({end / begin - 1:+.1%}; against the yardstick {end_by / begin_by - 1:+.1%})",
        flush=True,
    )


def soak(name: str, dataset: Path, out: Path, every: int) -> None:
    argv = [
        f"dataset={dataset}", f"out={out}", f"prompts=[{','.join(PROMPTS)}]", "models=tiny",
        "export=[]", "contact_sheet=false",
    ]  # fmt: skip
    settings = typed(compose(argv, "config"), AnnotateCommand)
    samples: list[Sample] = []
    worker = watched(build_worker(settings, load_prompts(PROMPTS)), every, samples)
    job._executor = lambda *_: worker
    job.annotate_dataset(settings)
    report(name, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--stills", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=10_000)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    if arguments.stills:
        write_stills(work / "stills", arguments.stills)
        soak("stills", work / "stills", work / "run-stills", max(1, arguments.stills // 100))
    if arguments.frames:
        write_clip(work / "clip" / "clip.mp4", arguments.frames)
        soak("video", work / "clip", work / "run-clip", max(1, arguments.frames // 100))


if __name__ == "__main__":
    main()
