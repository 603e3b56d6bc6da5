"""List the benchmarks and run the quick ones: `python -m bench`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = {
    "clips": "what happens in the clips that tracking is measured on; 10 s",
    "tracker_speed": "the tracker's frames per second against sam2's own predictor; 1 min",
    "tracking": "HOTA, IDF1, id switches and J from text, against the two usual ways; 10 min",
    "tracker_memory": "memory of annotating a long video; 5 min",
    "preset_memory": "what each preset takes of memory on a CPU; 5 min, 8 GB",
    "tiling": "what tiles bring for small objects in large pictures; 2 min",
    "precision": "how far bfloat16 and the size of a batch move results; 1 min",
    "ray_overhead": "what Ray costs at one worker, and what a second one brings; 7 min",
}
QUICK = ("clips", "tracker_speed")


def main() -> int:
    for name, what in BENCHMARKS.items():
        print(f"python -m bench.{name:<16} {what}{' *' if name in QUICK else ''}")
    print("* run now; see bench/README.md for their arguments\n", flush=True)
    for name in QUICK:
        print(f"## {name}\n", flush=True)
        # A process each: one benchmark's memory and threads are none of the next one's business.
        if code := subprocess.call([sys.executable, "-m", f"bench.{name}"]):
            return code
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
