"""List the benchmarks: `python -m bench`."""

from __future__ import annotations

BENCHMARKS = {
    "page": "all of speed, into RESULTS.md and results.json (make bench); 10 min",
    "tracker_speed": "the tracker's frames per second against sam2's own predictor; 1 min",
    "device_calls": "what a GPU would wait for, counted without one; 3 min",
    "clips": "what happens in the clips that tracking is measured on; 10 s",
    "tracking": "HOTA, IDF1, id switches and J from text, against the two usual ways; 10 min",
    "prompts": "what words, negatives, opinions and ensembles bring; 10 min",
    "tracker_memory": "memory of annotating a long video; 5 min",
    "preset_memory": "what each preset takes of memory on a CPU; 5 min, 8 GB",
    "review": "how fast a run is shown in FiftyOne; 2 min",
    "review_queue": "how well uncertainty leads to what is wrong, on the demo run; 10 s",
    "tiling": "what tiles bring for small objects in large pictures; 2 min",
    "precision": "how far bfloat16 and the size of a batch move results; 1 min",
    "ray_overhead": "what Ray costs at one worker, and what a second one brings; 7 min",
}


def main() -> None:
    for name, what in BENCHMARKS.items():
        print(f"python -m bench.{name:<16} {what}")
    print("See bench/README.md for their arguments.")


if __name__ == "__main__":
    main()
