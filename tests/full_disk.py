"""Fill a small file system at several points of a run; resume after space is freed; compare bytes.

`mount -t tmpfs -o size=4m tmpfs FOLDER && python -m tests.full_disk --work FOLDER` (needs root for
the mount; part of `make soak`).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.killing import arguments, left_behind, make_dataset, tree

FREE_KB = (4, 12, 16, 24, 40, 64)  # that a run finds


def annotate(dataset: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The command as users call it, without its progress bar."""
    command = [sys.executable, "-m", "annotate", *arguments(dataset, out), "export.media=copy"]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


def fill(folder: Path, free_kb: int) -> Path:
    """A file that leaves so much space."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - free_kb * 1024))
    return ballast


def main() -> None:
    """Print what each run on a full disk said, and what differs after it was resumed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a small, empty file system")
    small = parser.parse_args().work.resolve()
    wrong = []
    with TemporaryDirectory() as place:
        dataset = make_dataset(Path(place) / "data")
        assert annotate(dataset, Path(place) / "whole").returncode == 0
        expected = tree(Path(place) / "whole")
        for free_kb in FREE_KB:
            run = small / f"run-{free_kb}"
            ballast = fill(small, free_kb)
            full = annotate(dataset, run)
            ballast.unlink()
            lines = [line for line in full.stderr.replace("\r", "\n").split("\n") if line.strip()]
            said = [line for line in lines if "item/s" not in line and "s/item" not in line]
            print(f"{free_kb} KB free: exit {full.returncode}, {len(said)} line: {said[:1]}")
            resumed = annotate(dataset, run)
            same = tree(run) == expected and not left_behind(run)
            if full.returncode not in (2, 3) or len(said) != 1 or resumed.returncode or not same:
                wrong.append(f"{free_kb} KB: {said}, resumed with {resumed.returncode}, {same=}")
            shutil.rmtree(run)
    print("\n".join(wrong) or "every run was resumed to the same bytes, nothing left behind")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
