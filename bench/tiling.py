"""What tiles bring for small objects in large pictures: `python -m bench.tiling`.

Pictures of 2048 px with objects of 12 to 24 px, `models=tiny`, once seen whole and once in tiles as
well: recall of boxes and masks from the export threshold on, at IoU 0.5 with the right class, and
how many boxes are right.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

import annotate
from annotate.data.geometry import box_iou
from annotate.synthetic.canvas import Scene
from annotate.synthetic.demo import COMBOS
from annotate.synthetic.still import draw_still

SIDE, PATCH, PATCHES = 2048, 64, 60  # px, px, a picture
LEAST, MOST = 12, 24  # px, longer side of an object
THRESHOLD = 0.3

Truth = list[tuple[str, npt.NDArray[np.bool_], tuple[int, int]]]  # phrase, mask of a patch, corner


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        truth = {f"{n}.png": _draw(data / f"{n}.png", n) for n in range(arguments.pictures)}
        print("| seen | objects | box recall | mask recall | precision | s a picture |")
        print("|---|---|---|---|---|---|")
        for name, size in (("whole", None), (f"tiles of {arguments.size} px", arguments.size)):
            run = annotate.run(
                dataset=data,
                prompts=sorted({" ".join(combo) for combo in COMBOS}),
                models="tiny",
                out=f"{folder}/{size}",
                tile__size=size,
                threshold=THRESHOLD,
                contact_sheet=False,
                export=[],
            )
            print(f"| {name} | {_row(run, truth)}", flush=True)


def _draw(path: Path, seed: int) -> Truth:
    """A picture with patches of scenes on it whose objects are all small."""
    rng = np.random.default_rng(seed)
    canvas = draw_still(9_000 + seed, (SIDE, SIDE), min_objects=0, max_objects=0).image.copy()
    cells = rng.permutation((SIDE // 128) ** 2)[:PATCHES]
    truth: Truth = []
    patches = _small_scenes(seed)
    for cell in cells:
        scene = next(patches)
        x = int(cell % (SIDE // 128) * 128 + rng.integers(0, 128 - PATCH))
        y = int(cell // (SIDE // 128) * 128 + rng.integers(0, 128 - PATCH))
        canvas[y : y + PATCH, x : x + PATCH] = scene.image
        truth += [(thing.phrase, thing.mask, (x, y)) for thing in scene.objects]
    PilImage.fromarray(canvas).save(path)
    return truth


def _small_scenes(seed: int) -> Iterator[Scene]:
    n = 0
    while True:
        scene = draw_still(20_000 + 1_000 * seed + n, (PATCH, PATCH), combos=COMBOS, max_objects=2)
        n += 1
        sides = [max(np.ptp(np.nonzero(t.mask), axis=1) + 1) for t in scene.objects]
        if sides and all(LEAST <= side <= MOST for side in sides):
            yield scene


def _row(run: annotate.Run, truth: dict[str, Truth]) -> str:
    objects = sum(map(len, truth.values()))
    found = right = boxes = masks = 0
    for frame in run.frames():
        kept = [i for i in frame.instances if i.score >= THRESHOLD]
        found += len(kept)
        matched: set[str] = set()
        for phrase, mask, (x, y) in truth[frame.item]:
            rows, columns = np.nonzero(mask)
            box = (columns.min() + x, rows.min() + y, columns.max() + 1 + x, rows.max() + 1 + y)
            same = [i for i in kept if i.class_name == phrase and i.instance_id not in matched]
            best = max(same, key=lambda i: box_iou(i.box_xyxy, box), default=None)
            if best is None or box_iou(best.box_xyxy, box) < 0.5:
                continue
            matched.add(best.instance_id)
            boxes += 1
            right += 1
            whole = np.zeros((SIDE, SIDE), bool)
            whole[y : y + PATCH, x : x + PATCH] = mask
            theirs = best.mask.decode()
            masks += bool((theirs & whole).sum() >= 0.5 * (theirs | whole).sum())
    seconds = run.summary.seconds["annotate"] / len(truth)
    precision = right / found if found else 0.0
    return (
        f"{objects} | {boxes / objects:.3f} | {masks / objects:.3f} | {precision:.3f} | "
        f"{seconds:.1f} |"
    )


if __name__ == "__main__":
    main()
