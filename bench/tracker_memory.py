"""Memory of a process that annotates one long generated video: `-m bench.tracker_memory`.

Frames are rendered as they are asked for, and go through the package's whole way for videos with
the embedded models; what it hands out is let go, as a run lets go of it by writing it to disk.
The peak must not know how long the video is: 3,000 frames against 300, within 5 %.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from annotate.data.types import Frame, Item
from annotate.synthetic.clip import Clip
from bench.clips import FIRST_SEED
from bench.models import load_tiny

SIZE_WH = (320, 240)
CHECKPOINTS = (50, 100, 200, 300, 500, 1000, 2000, 3000, 5000, 10_000)
SCENE = 250  # frames of one scene; the cut between two ends its tracks and brings new ones


def long_video(frames: int) -> Iterator[Frame]:
    """Generated scenes, one after the other."""
    item = Item("long", Path("long"), "video")
    clip = Clip(FIRST_SEED, SIZE_WH)
    for t in range(frames):
        if t % SCENE == 0:
            clip = Clip(FIRST_SEED + 900 + t // SCENE, SIZE_WH, objects=4)
        yield Frame(item, clip.frame(t % SCENE).image, t, t / 24)


def peak_mib() -> float:
    """The most memory this process ever had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--every", type=int, default=20, help="frames between groundings")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scenes = range(-(-options.frames // SCENE))
    clips = [Clip(FIRST_SEED + 900 + n, SIZE_WH, objects=4) for n in scenes]
    models = load_tiny(
        sorted({track.phrase for clip in clips for track in clip.tracks}), device=options.device
    )
    pipeline = models.pipeline(every=options.every)
    video = pipeline.video(long_video(options.frames))
    cuda = pipeline.device.type == "cuda"
    print(f"before the first frame: {peak_mib():.0f} MiB\n")
    print("| frames | peak, MiB | on the GPU, MiB | masks so far | frames / s |")
    print("|---|---|---|---|---|")
    begun, masks = time.perf_counter(), 0
    peaks: dict[int, float] = {}
    checkpoints = {*CHECKPOINTS, options.frames}
    for count, record in zip(itertools.count(1), video.provisional(), strict=False):
        masks += len(record.instances)
        if count in checkpoints:
            peaks[count] = peak_mib()
            device = f"{torch.cuda.max_memory_allocated() / 2**20:.1f}" if cuda else "-"
            rate = count / (time.perf_counter() - begun)
            print(f"| {count} | {peaks[count]:.1f} | {device} | {masks} | {rate:.1f} |", flush=True)
    if 300 in peaks:
        growth = peaks[options.frames] / peaks[300] - 1
        print(f"\n{options.frames} frames take {growth:+.1%} against 300")


if __name__ == "__main__":
    main()
