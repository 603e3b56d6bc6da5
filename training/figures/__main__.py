"""Measure the embedded models on scenes they have never seen: `python -m training.figures`.

Prints the table of the model card. All scenes come from seeds set aside for it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from training.figures.boxes import measure_grounder
from training.figures.clips import measure_clips
from training.figures.masks import measure_masks
from training.loop import FIGURE_SEEDS, TUNING_SEEDS, prepare_torch

TINY: Final = Path(__file__).parents[2] / "annotate/models/tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stills", type=int, default=500)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--grounder", type=Path, default=TINY / "grounder")
    parser.add_argument("--segmenter", type=Path, default=TINY / "segmenter")
    parser.add_argument("--only", choices=("grounder", "masks", "clips"))
    parser.add_argument("--tuning", action="store_true", help="other scenes, to compare recipes on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    prepare_torch(options.threads)
    seeds = TUNING_SEEDS if options.tuning else FIGURE_SEEDS
    begun = time.monotonic()
    parts = {
        "grounder": lambda: measure_grounder(options.grounder, options.stills, seeds),
        "masks": lambda: measure_masks(options.segmenter, options.stills, seeds),
        "clips": lambda: measure_clips(options.segmenter, options.clips, seeds),
    }
    tables = [run() for name, run in parts.items() if options.only in (None, name)]
    print(f"{time.monotonic() - begun:.0f} s on {options.threads} threads")
    if options.out:
        options.out.write_text("\n\n".join("\n".join(t) for t in tables) + "\n")


if __name__ == "__main__":
    main()
