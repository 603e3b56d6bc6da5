"""How fast a run is shown in FiftyOne: `python -m bench.review --stills 4000`.

Needs a database as review does. The pictures do not exist: none is read.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from annotate.config.compose import compose, typed
from annotate.config.settings import ReviewCommand
from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.review.build import build
from annotate.review.places import places
from annotate.review.pull import pull
from annotate.store.fiftyone_database import connect

HW = (720, 1280)  # px
INSTANCES = 5  # per still


def main() -> None:
    """Build a run of many stills, build it again, pull; print rates and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stills", type=int, default=4000)
    stills = parser.parse_args().stills
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder) / "bench-review", stills)
        argv = ["run=bench", "name=bench-review", "near_duplicates=false"]
        command = typed(compose(argv, "review"), ReviewCommand)
        connect()
        print(f"{'before':8} {_peak_mb():5.0f} MB")
        for name, step in (
            ("build", build),
            ("again", build),
            ("pull", pull),
        ):
            start, busy = time.perf_counter(), time.process_time()
            found = step(run, command)
            taken, busy = time.perf_counter() - start, time.process_time() - busy
            rates = f"{stills / taken:6.0f} stills/s  {stills / busy:6.0f} a second of this process"
            print(f"{name:8} {_peak_mb():5.0f} MB  {rates}")
        dataset = places(run, command)[0].find()
        assert dataset is not None and found == []
        start = time.perf_counter()
        dataset.dataset.load_saved_view("queue").first()
        print(f"queue    {time.perf_counter() - start:.2f} s to its first picture")
        dataset.dataset.delete()


def _run(folder: Path, stills: int) -> Run:
    run = Run(folder, folder / "data", ClassList((ClassSpec("thing", ("thing",)),)))
    shapes = list(_shapes(np.random.default_rng(0)))
    with parquet.PartWriter(run.records_dir, "part-0") as part:
        for number in range(stills):
            name = f"{number:07d}.jpg"
            instances = tuple(
                Instance(f"{name}:{k}", 0, "thing", 0.5, box, mask, area, 0.7)
                for k, (mask, box, area) in enumerate(
                    shapes[(number + k) % len(shapes)] for k in range(INSTANCES)
                )
            )
            part.add(FrameRecord(name, name, "image", 0, 0.0, HW[1], HW[0], "ok", "", instances))
    return run


def _shapes(rng: np.random.Generator):  # type: ignore[no-untyped-def]
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    for _ in range(50):
        y, x, a, b = rng.uniform((100, 100, 30, 30), (600, 1100, 90, 140))
        mask = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
        box = tuple(mask_boxes(mask[None])[0].tolist())
        yield Rle(encode_masks(mask[None])[0], HW), box, int(mask.sum())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    main()
