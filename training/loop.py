"""The training loop both models share: schedule, weight average, checkpoint and resume.

Every step draws its data from a random stream of its own, so a run that was interrupted and resumed
takes the same steps as one that was not.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from training.optimizer import build_optimizers

log = logging.getLogger(__name__)

# Disjoint by construction: training never sees the scenes the figures are measured on, and recipes
# are compared on a third set.
FIGURE_SEEDS: Final = range(500_000, 600_000)
TUNING_SEEDS: Final = range(600_000, 700_000)
TRAINING_SEEDS: Final = range(10_000_000, 2**31)
assert FIGURE_SEEDS.stop <= TUNING_SEEDS.start < TUNING_SEEDS.stop <= TRAINING_SEEDS.start

_LOG_EVERY: Final = 50  # steps
_SAVE_EVERY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn; the budget that ends first ends the run."""

    minutes: float  # of training, summed over interruptions
    steps: int
    lr: float  # highest, after the warm-up
    lr_end: float
    warmup_steps: int = 100
    average_decay: float = 0.998  # of the weight average that is exported

    def progress(self, step: int, seconds: float) -> float:
        """0 at the start, 1 at the end."""
        return max(step / self.steps, seconds / (self.minutes * 60))

    def lr_at(self, step: int, progress: float) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        return warmup * (self.lr_end + (self.lr - self.lr_end) * cosine)


class Task(Protocol):
    """A model and what it has to learn."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self, rng: Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The loss of one freshly drawn batch, and what to log."""
        ...

    def export(self, state: dict[str, Tensor], folder: Path) -> None:
        """Write a state of the model in the format it is shipped in."""
        ...


class Trainer:
    """Runs a task and keeps everything needed to go on in `run/checkpoint.pt`."""

    def __init__(self, task: Task, schedule: Schedule, run: Path) -> None:
        self._task, self._schedule, self._run = task, schedule, run
        self._checkpoint = run / "checkpoint.pt"
        model = task.model.train()
        self._optimizers = build_optimizers(model)
        self.average = {k: v.clone() for k, v in model.state_dict().items()}
        self.step = 0
        self.seconds = 0.0
        run.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._restore()

    def run(self, until_step: int | None = None) -> None:
        """Train to the end of the schedule, or to `until_step` when that comes first."""
        begun = saved = time.monotonic()
        before = self.seconds
        window: dict[str, list[float]] = {}
        while self._progress() < 1 and (until_step is None or self.step < until_step):
            for name, value in self._one_step().items():
                window.setdefault(name, []).append(value)
            now = time.monotonic()
            self.seconds = before + now - begun
            if self.step % _LOG_EVERY == 0:
                self._log(window)
                window = {}
            if now - saved > _SAVE_EVERY_S:
                self.save()
                saved = now
        self.save()

    def save(self) -> None:
        """Write the checkpoint and the averaged weights; a kill half-way leaves the last ones."""
        state = {
            "model": self._task.model.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self._optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        part = self._checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._checkpoint)
        self._task.export(self.average, self._run / "export")

    def _restore(self) -> None:
        state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        self._task.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("resumed at step %d after %.1f min", self.step, self.seconds / 60)

    def _progress(self) -> float:
        return self._schedule.progress(self.step, self.seconds)

    def _one_step(self) -> dict[str, float]:
        progress = self._progress()
        rate = self._schedule.lr_at(self.step, progress)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        loss, report = self._task.loss(step_stream(self.step), progress)
        self._task.model.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._task.model.parameters(), 1.0)
        # One bad batch must not end an hour of work: skip it, and let the log show it.
        if torch.isfinite(norm):
            for optimizer in self._optimizers:
                optimizer.step()
        self.step += 1
        self._update_average()
        return {"loss": float(loss.detach()), "gradient": float(norm), **report}

    @torch.no_grad()
    def _update_average(self) -> None:
        # Short memory at first, so that the average does not carry the starting weights along.
        decay = min(self._schedule.average_decay, (1 + self.step) / (10 + self.step))
        for name, value in self._task.model.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _log(self, window: dict[str, list[float]]) -> None:
        row = {name: round(float(np.nanmean(v)), 4) for name, v in window.items()}
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2), **row}
        log.info(json.dumps(row))
        with (self._run / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def step_stream(step: int) -> Generator:
    """The random stream of one training step."""
    return np.random.default_rng([TRAINING_SEEDS.start, step])


def scene_seed(rng: Generator) -> int:
    return int(rng.integers(TRAINING_SEEDS.start, TRAINING_SEEDS.stop))


def model_view(rng: Generator, image: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A picture as a model gets it: resized, and at times through JPEG; uint8 (H, W, 3)."""
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR))
    if image.shape[1::-1] == size_wh:
        return image
    shrinks = image.shape[0] > size_wh[1] or image.shape[1] > size_wh[0]
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def normalise(images: list[np.ndarray]) -> Tensor:
    """uint8 pictures of one size to (b, 3, H, W) with the mean and deviation of ImageNet."""
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    pixels = torch.from_numpy(np.stack(images)).float() / 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def command_line(description: str, *, lr: float, lr_end: float) -> argparse.ArgumentParser:
    """The options both trainers take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoint and export")
    parser.add_argument("--minutes", type=float, default=60, help="of training in all")
    parser.add_argument("--steps", type=int, default=1_000_000, help="at most")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--lr-end", type=float, default=lr_end)
    parser.add_argument("--init", type=Path, help="weights to start from instead of from scratch")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def train(task: Task, options: argparse.Namespace) -> None:
    """Run or resume what the command line asks for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    schedule = Schedule(options.minutes, options.steps, options.lr, options.lr_end)
    Trainer(task, schedule, options.run).run()


def prepare_torch(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    # Denormal numbers in the optimizer's moments slow a CPU down several times.
    torch.set_flush_denormal(True)
