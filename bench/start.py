"""How long the commands take before they say something: seconds by the clock, caches warm."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cv2

from annotate.synthetic.still import draw_still
from bench.table import Cell, Options, Table

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "annotate --help": ["-m", "annotate", "--help"],
    "a mistyped setting": ["-m", "annotate", "dataset=.", "prompts=[x]", "grond=sam3"],
    "annotate.models": ["-m", "annotate.models"],
}


def measure(options: Options) -> Iterator[Table]:
    """Of each command, and of a run to its first record."""
    repeats = 1 if options.quick else 3
    rows: list[list[Cell]] = []
    for name, command in COMMANDS.items():
        rows.append([name, median(_seconds(command) for _ in range(repeats))])
    with TemporaryDirectory() as folder:
        rows.append(["start to first record, models=tiny", _first_record(Path(folder), options)])
    yield Table(
        "Start",
        "Seconds by the clock. Targets: help, errors and `annotate.models` under half of "
        "`import torch`; the first record within 15 s.",
        ("what", "s"),
        rows,
    )


def _seconds(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=False)
    return time.perf_counter() - begun


def _first_record(folder: Path, options: Options) -> float:
    (folder / "pictures").mkdir()
    picture = cv2.cvtColor(draw_still(3, (320, 240)).image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "pictures" / "a.png"), picture)
    command = [
        "-m", "annotate", f"dataset={folder / 'pictures'}", "prompts=[red circle]", "models=tiny",
        f"device={options.device}", f"out={folder / 'run'}",
    ]  # fmt: skip
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None or time.perf_counter() - begun < 1:
            if any((folder / "run" / "records").glob("part-*.parquet")):
                return time.perf_counter() - begun
            time.sleep(0.02)
        raise RuntimeError("the run wrote no record")
    finally:
        process.wait()
