"""The page of speed: `python -m bench.page` measures all and writes RESULTS.md and results.json.

`python -m bench.page stills exports` prints these alone. Each measurement is a process of its own:
memory and threads of one are none of the next one's business. One that fails is said on the page.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.table import Options, Table

HERE = Path(__file__).parent
DEVICES = ("cpu", "cuda")
MEASUREMENTS = {
    "stills": "a still against the way of the tutorials",
    "overhead": "what is spent beside the models",
    "tracker_speed": "a video frame against sam2's own predictor",
    "device_calls": "what a GPU would wait for, counted without one",
    "exports": "exports against FiftyOne's and supervision's",
    "growth": "how time and memory grow",
    "start": "how long commands take before they say something",
}
PACKAGES = (
    "annotate", "torch", "transformers", "sam2", "numpy", "opencv-python", "pycocotools",
    "fiftyone", "supervision",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS))
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--full", action="store_true", help="full-size models and longer runs, too")
    parser.add_argument("--quick", action="store_true", help="the smallest case of each")
    parser.add_argument("--json", action="store_true", help="print what was measured as json")
    parser.add_argument("--write", action="store_true", help="put what is named on the page anew")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(MEASUREMENTS)}")
    if asked.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("--device cuda: PyTorch sees no such device here")
    options = Options(asked.device, full=asked.full, quick=asked.quick)
    if asked.names and not asked.write:
        tables = [table for name in asked.names for table in measured(name, options)]
        if asked.json:
            print(json.dumps([asdict(table) for table in tables]))
        else:
            print(*(table.markdown() for table in tables), sep="\n\n")
        return 0
    return 0 if write(HERE, options, asked.names) else 1


def measured(name: str, options: Options) -> list[Table]:
    """The tables of a measurement, taken in this process, which gets one thread of a CPU."""
    import torch

    if options.device == "cpu":
        torch.set_num_threads(1)
    return list(importlib.import_module(f"bench.{name}").measure(options))


def write(folder: Path, options: Options, names: Sequence[str] = ()) -> bool:
    """Measure some or all, and put it in the place of what the page said of this device."""
    path = folder / "results.json"
    whole = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    said = whole.setdefault(options.device, {}) if names else {}
    whole[options.device] = said
    said["with"] = surroundings(options.device)
    for part in ("tables", "failed", "commits", "asked"):
        said.setdefault(part, {})
    asked = ["--device", options.device, *["--full"] * options.full, *["--quick"] * options.quick]
    for name, what in MEASUREMENTS.items():
        if names and name not in names:
            continue
        for part in ("tables", "failed"):
            said[part].pop(name, None)
        said["commits"][name], said["asked"][name] = _commit(), " ".join(asked)
        print(f"{name}: {what}", flush=True)
        command = [sys.executable, "-m", "bench.page", name, "--json", *asked]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            done.check_returncode()
            said["tables"][name] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.CalledProcessError, ValueError, IndexError):
            lines = done.stderr.strip().splitlines() or ["no table came"]
            said["failed"][name] = f"exit code {done.returncode}: {lines[-1]}"
            print(f"  failed: {lines[-1]}", flush=True)
        print(f"  {time.perf_counter() - begun:.0f} s", flush=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    (folder / "RESULTS.md").write_text(page(whole), "utf-8")
    return not said["failed"]


def surroundings(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    import psutil
    import torch

    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "gpu": f"{torch.cuda.get_device_name()}, driver {_driver()}"
        if device == "cuda"
        else "none",
        "versions": {"python": platform.python_version()}
        | {name: found for name in PACKAGES if (found := _version(name))},
    }


def page(whole: dict[str, Any]) -> str:
    """What was measured on each device, as a page."""
    parts = [
        "# Speed",
        "Written by `make bench` (and `make bench-gpu`); the numbers are in `results.json` too, "
        "and what was tried is in [LOG.md](LOG.md). Compare within a table: ratios of one run hold "
        "where absolute times do not.",
    ]
    for device in DEVICES:
        title = "CPU" if device == "cpu" else "GPU"
        if device not in whole:
            parts.append(f"## {title}\n\nNot measured yet.")
            continue
        said = whole[device]
        with_, versions = said["with"], said["with"]["versions"]
        parts.append(
            f"## {title}\n\n{with_['date']}, {with_['machine']}, "
            f"GPU: {with_['gpu']}. " + ", ".join(f"{n} {v}" for n, v in versions.items()) + "."
        )
        for name in (name for name in MEASUREMENTS if name in said["tables"]):
            parts += [Table(**table).markdown() for table in said["tables"][name]]
            asked = said.get("asked", {}).get(name, f"--device {device}")
            parts.append(f"`python -m bench.page {name} {asked}`, commit {said['commits'][name]}")
        parts += [f"**{name} failed**: {why}" for name, why in said["failed"].items()]
    return "\n\n".join(parts) + "\n"


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=HERE)
    return done.stdout.strip() or "unknown"


def _driver() -> str:
    """Of NVIDIA, of the first device; torch does not tell it."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return (done.stdout.split() or ["unknown"])[0]


def _processor() -> str:
    with_name = Path("/proc/cpuinfo")
    if with_name.is_file():
        for line in with_name.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
