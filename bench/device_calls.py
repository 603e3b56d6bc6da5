"""What a GPU would wait for, counted without one: `python -m bench.device_calls`.

Uploads, waits of the host and operator calls of the whole pipeline with the embedded models, per
batch of stills and per video frame, with a detector that finds what is true after the real one has
looked. Uploads and waits are counted on `bench.emulated_device`; operator calls as PyTorch's
dispatcher sees them on a CPU that shares passes as a GPU does, those of the host among them but not
those of the threads that finish masks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Frame, Item
from annotate.discover.class_list import load_prompts
from annotate.models import devices
from annotate.runner import build
from annotate.runner.pipeline import FINISHED_AHEAD, Pipeline
from annotate.segment.sam2 import image
from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.track.tracker import WINDOW
from bench.emulated_device import NAME, Counts, choosing, emulated
from bench.fixed_boxes import FixedBoxes
from bench.table import Options, Table

BATCH = 8  # what a GPU gets by default
SIZE_WH = (320, 240)  # px
FIRST = 17  # frame from which it is counted: memories are full
LEAST = 16  # frames that are counted, or a whole window of the tracker where that is more
SEED = 710_000
OBJECTS = (3, 6, 12)


@dataclass(frozen=True, slots=True)
class Calls:
    """Of a batch of stills, or of one video frame on average."""

    what: str
    objects: int
    uploads: float
    waits: float
    calls: float  # of operators


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def _finds(pipeline: Pipeline, scenes: Sequence[Scene]) -> None:
    """Have it look as it does, and find what is true."""
    boxes = {
        index: np.array([o.box_xyxy for o in scene.objects]) for index, scene in enumerate(scenes)
    }
    pipeline._detector = FixedBoxes(pipeline._detector, boxes)  # type: ignore[assignment]


def _pipeline(device: str, every: int) -> Pipeline:
    asked = ["dataset=.", "models=tiny", "prompts=[thing]", f"ground.every={every}"]
    settings = typed(compose([*asked, f"ground.batch={BATCH}"], "config"), AnnotateCommand)
    for role in ("grounder", "segmenter"):
        target = getattr(settings, role)
        target = replace(target, arguments={**target.arguments, "device": device})
        settings = replace(settings, **{role: target})
    settings = replace(settings, device=device)
    return build.build_pipeline(settings, load_prompts(settings.prompts))[0]


def _frames(scenes: Sequence[Scene], media: Any) -> list[Frame]:
    item = Item(name="counted", path=Path("counted"), media=media)
    return [Frame(item, scene.image, index, index / 10) for index, scene in enumerate(scenes)]


Counted = tuple[float, float, float]  # uploads, waits, calls


def _of_video(pipeline: Pipeline, scenes: Sequence[Scene], read: Callable[[], Counted]) -> Counted:
    _finds(pipeline, scenes)
    before: Counted = (0, 0, 0)
    counted = _counted_frames(pipeline._every)
    made = pipeline.video(_frames(scenes, "video")).provisional()
    for index, _ in enumerate(made):
        if index == FIRST:
            before = read()
        if index == FIRST + counted:
            break
    uploads, waits, calls = (b - a for a, b in zip(before, read(), strict=True))
    return uploads / counted, waits / counted, calls / counted


def _counted_frames(every: int) -> int:
    """Whole windows of the tracker, in which key frames are grounded together."""
    window = max(1, min(BATCH, WINDOW // every)) * every
    return -(-LEAST // window) * window


def _of_stills(pipeline: Pipeline, scenes: Sequence[Scene], read: Callable[[], Counted]) -> Counted:
    _finds(pipeline, scenes)
    frames = _frames(scenes, "image")
    pipeline.stills(frames[:BATCH])  # what is sent once is there
    before = read()
    pipeline.stills(frames[BATCH : 2 * BATCH])
    uploads, waits, calls = (b - a for a, b in zip(before, read(), strict=True))
    return uploads, waits, calls


@contextmanager
def _counting(device: str) -> Iterator[Callable[[], Counted]]:
    if device == NAME:
        choose = choosing(devices.choose_device)
        with (
            emulated() as counts,
            patch.object(devices, "choose_device", choose),
            patch.object(build, "choose_device", choose),
        ):
            yield lambda: _read(counts)
    else:
        with patch.object(image, "shares_passes", lambda device: True), _Dispatched() as dispatched:
            yield lambda: (0, 0, dispatched.calls)


def _read(counts: Counts) -> Counted:
    return counts.uploads, counts.waits, counts.calls


def measure(options: Options) -> Iterator[Table]:
    """The same on every machine."""
    found = counted(OBJECTS[:1], (1,)) if options.quick else counted()
    yield Table(
        "What a GPU would wait for",
        f"Counted on an emulated device with batches of {BATCH}; a row of stills is a whole batch. "
        "Targets: one upload a picture; 4 waits at most; 1,550 operator calls a video frame with 3 "
        "objects, and less than 20 for each further one.",
        ("of", "objects", "uploads", "waits", "operator calls"),
        [[row.what, row.objects, row.uploads, row.waits, row.calls] for row in found],
    )


def counted(objects: Sequence[int] = OBJECTS, every: Sequence[int] = (1, 5)) -> Iterator[Calls]:
    """A row for stills, and one for videos by how often they are grounded, for so many objects."""
    for count in objects:
        clip = Clip(SEED + count, SIZE_WH, objects=count, occluder=False)
        # The tracker is ahead of what is handed out by a window and by masks that are finished.
        length = FIRST + 2 * max(map(_counted_frames, every)) + FINISHED_AHEAD + 1
        scenes = [clip.frame(t) for t in range(length)]
        ways = [(f"{BATCH} stills", 1, _of_stills)]
        ways += [(f"a video frame, ground.every={n}", n, _of_video) for n in every]
        for what, n, way in ways:
            found = []
            for device in (NAME, "cpu"):
                with _counting(device) as read:
                    found.append(way(_pipeline(device, n), scenes, read))
            (uploads, waits, _), (_, _, calls) = found
            yield Calls(what, count, uploads, waits, calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="+", default=OBJECTS)
    parser.add_argument("--every", type=int, nargs="+", default=(1, 5))
    parser.add_argument("--json", action="store_true", help="a line for each row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.json:
        print("| | objects | uploads | waits | operator calls |")
        print("|---|---|---|---|---|")
    for row in counted(options.objects, options.every):
        if options.json:
            print(json.dumps(asdict(row)), flush=True)
        else:
            print(
                f"| {row.what} | {row.objects} | {row.uploads:.1f} | {row.waits:.1f} "
                f"| {row.calls:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
