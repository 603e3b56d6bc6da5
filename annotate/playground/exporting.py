"""Zips of what a job found, as the command line exports it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from annotate.playground.job import JobError

FORMATS = ("coco", "yolo_seg")


def export(run: Path, threshold: float) -> list[Path]:
    """COCO and YOLO-seg of a run at a threshold. Raises JobError with the command's sentence."""
    argv = [
        sys.executable, "-m", "annotate.export", f"run={run.name}", f"threshold={threshold:g}",
        f"export=[{','.join(FORMATS)}]", "export.media=copy",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=run.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    return [
        Path(shutil.make_archive(str(run.parent / name), "zip", run / "exports" / name))
        for name in FORMATS
    ]
