"""Kill runs at every write and rename and at random moments, resume them, compare every byte.

`python -m tests.killing --random 100 --every 1` is the long version (`make soak`); tests run a
short one. The process loads the models once and forks a child for each run, which is killed by the
operating system: nothing is mocked but the loading.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.discover.class_list import load_prompts
from annotate.report.video_writer import VideoWriter
from annotate.runner import job
from annotate.runner.build import build_worker
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from tests.faults.sitecustomize import watch_changes

PROMPTS = ["red circle", "blue triangle"]
FRAMES = 8


def make_dataset(folder: Path, stills: int = 6, clips: int = 1) -> Path:
    """Stills of two sizes, with one more that is torn, and clips."""
    folder.mkdir(parents=True)
    for seed in range(stills):
        size = (96, 96) if seed % 2 else (96, 72)
        scene = draw_still(seed, size, combos=[("red", "circle"), ("blue", "triangle")])
        PilImage.fromarray(scene.image).save(folder / f"{seed:03d}.png")
    if stills:
        (folder / "torn.png").write_bytes((folder / "000.png").read_bytes()[:200])
    for seed in range(4, 4 + clips):
        clip = Clip(seed, (96, 96), combos=[("red", "circle"), ("blue", "triangle")], objects=2)
        with VideoWriter(folder / f"{seed:03d}.mp4", size_wh=(96, 96), fps=25, crf=12) as video:
            for t in range(FRAMES):
                video.add(clip.frame(t).image, t / 25)
    return folder


def arguments(dataset: Path, out: Path, *more: str) -> list[str]:
    return [
        f"dataset={dataset}", f"out={out}", f"prompts=[{','.join(PROMPTS)}]", "models=tiny",
        "runner.part_items=3", "runner.threads=1", "runner.checkpoint_frames=3",
        "gates.max_failed=9", "contact_sheet=false",
        *more,
    ]  # fmt: skip


def settings(dataset: Path, out: Path) -> AnnotateCommand:
    return typed(compose(arguments(dataset, out), "config"), AnnotateCommand)


def tree(run: Path) -> dict[str, bytes]:
    """What must be the same whatever happened: every file of records and exports."""
    parts = (run / "records", run / "exports")
    paths = [p for part in parts for p in part.rglob("[!.]*") if p.is_file()]
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(paths)}


def left_behind(run: Path) -> list[str]:
    """Working files, which a finished run must not have. A lock is none: nobody holds it."""
    notes = {*(run / "exports").glob(".*.json")}
    hidden = [p for p in run.rglob(".*") if not p.name.startswith(".lock") and p not in notes]
    return [p.relative_to(run).as_posix() for p in [*hidden, *run.glob("unfinished")]]


def kill_at(step: int, folder: Path) -> Callable[[], int]:
    """Kill this process just before its `step`-th change below a folder; how many there were."""
    count = 0

    def on_change() -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_changes(str(folder), on_change)
    return lambda: count


class Killing:
    """One dataset, one set of loaded models, and what an undisturbed run makes of them."""

    def __init__(self, work: Path) -> None:
        torch.set_num_threads(1)
        self.work = work
        self.dataset = make_dataset(work / "data")
        worker = build_worker(settings(self.dataset, work / "whole"), load_prompts(PROMPTS))
        job._executor = lambda *_: worker
        start = time.perf_counter()
        self.steps = self._count_steps()
        self.seconds = time.perf_counter() - start
        self.expected = tree(work / "whole")

    def kill_at_step(self, step: int) -> str:
        """Kill a run before a change of files, resume it; what is wrong then, or nothing."""
        out = self.work / f"step-{step}"
        killed = self._fork(out, lambda: kill_at(step, out))
        return self._judge(out, f"step {step}", killed())

    def kill_at_moment(self, seed: int) -> str:
        """Kill a run at a random moment, and the resumed one as well; then resume that."""
        out = self.work / f"moment-{seed}"
        rng = random.Random(seed)
        status = 0
        for _ in range(2):
            wait = self._fork(out, lambda: None)
            time.sleep(rng.uniform(0, self.seconds))
            status = wait(signal.SIGKILL)
        return self._judge(out, f"moment {seed}", status)

    def _judge(self, out: Path, what: str, status: int) -> str:
        ended_first = status == 0  # a moment may come when all is done
        if not ended_first and os.WTERMSIG(status) != signal.SIGKILL:
            return f"{what}: was to be killed, ended with {status}"
        if status := self._fork(out, lambda: None)():
            return f"{what}: the resumed run ended with {status}"
        made = tree(out)
        different = [n for n in self.expected.keys() | made if self.expected.get(n) != made.get(n)]
        wrong = sorted(different) + left_behind(out)
        shutil.rmtree(out)
        return f"{what}: {wrong}" if wrong else ""

    def _count_steps(self) -> int:
        read, write = os.pipe()
        out = self.work / "whole"

        def count_steps() -> None:
            count = kill_at(0, out)
            job.annotate_dataset(settings(self.dataset, out))
            os.write(write, str(count()).encode())
            os._exit(0)

        status = self._fork(out, count_steps)()
        assert status == 0
        return int(os.read(read, 20))

    def _fork(self, out: Path, prepare: Callable[[], object]) -> Callable[..., int]:
        """Begin a run in a child; the function that ends it by a signal, or waits for its end."""
        if child := os.fork():

            def end(by: int | None = None) -> int:
                if by:
                    os.kill(child, by)
                return os.waitpid(child, 0)[1]

            return end
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 2)
            prepare()
            job.annotate_dataset(settings(self.dataset, out))
            os._exit(0)
        except BaseException:
            (self.work / "traceback.txt").write_text(traceback.format_exc())
            os._exit(70)


def main() -> None:
    """Print what was done, and every run that was not resumed to the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--random", type=int, default=100, help="random moments, two kills each")
    parser.add_argument("--every", type=int, default=1, help="kill at every n-th change of files")
    asked = parser.parse_args()
    killing = Killing(asked.work.resolve())
    steps = range(1, killing.steps + 1, asked.every)
    wrong = [killing.kill_at_step(step) for step in steps]
    wrong += [killing.kill_at_moment(seed) for seed in range(asked.random)]
    print(
        f"killed at {len(steps)} of {killing.steps} changes of files and at "
        f"{2 * asked.random} random moments; a whole run takes {killing.seconds:.1f} s"
    )
    print("\n".join(filter(None, wrong)) or "all resumed to the same bytes, nothing left behind")
    sys.exit(any(wrong))


if __name__ == "__main__":
    main()
