"""The clips on which tracking is measured: `python -m bench.clips` says what happens in them.

Seeds from 700,000 on belong to them alone. In the order of their seeds, those clips are in the set
in which an object is fully hidden for a while, or objects pass in front of each other at least
five times: what sets trackers apart. Only the truth decides; `python -m bench.clips choose` lists
them anew. One more clip is cut together from two scenes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from annotate.data import geometry
from annotate.data.types import Rle
from annotate.evaluate.tracking import TrackedMask
from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip

FIRST_SEED = 700_000
SIZES_WH = ((320, 240), (256, 192))  # px; even seeds are large and have a bar to hide behind
FRAMES = 72
CHOSEN = tuple(
    FIRST_SEED + n for n in (0, 2, 3, 4, 6, 7, 10, 12, 16, 18, 20, 21, 22, 24, 28, 29, 30, 32, 36)
)
CUT = (700_500, 700_501)
MAX_HIDDEN = 15  # frames
MIN_CROSSINGS = 5


@dataclass(frozen=True, slots=True)
class BenchClip:
    """A clip of one scene, or of several with a cut in between."""

    seeds: tuple[int, ...]
    length: int = FRAMES

    @property
    def name(self) -> str:
        return "+".join(map(str, self.seeds))

    @property
    def size_wh(self) -> tuple[int, int]:
        return SIZES_WH[self.seeds[0] % 2]

    def frames(self) -> Iterator[Scene]:
        """Pictures and truth, frame by frame; ids of a later scene follow those of an earlier."""
        per_scene = self.length // len(self.seeds)
        born = 0
        for seed in self.seeds:
            clip = Clip(seed, self.size_wh, occluder=seed % 2 == 0)
            for t in range(per_scene):
                scene = clip.frame(t)
                objects = (replace(o, track_id=o.track_id + born) for o in scene.objects)
                yield replace(scene, objects=tuple(objects))
            born += len(clip.tracks)


CLIPS = (*(BenchClip((seed,)) for seed in CHOSEN), BenchClip(CUT))


def phrases(clips: Sequence[BenchClip] = CLIPS) -> list[str]:
    """The classes to ask for: every phrase that is true of something in the clips."""
    return sorted({o.phrase for clip in clips for scene in clip.frames() for o in scene.objects})


def truth(scene: Scene, classes: Sequence[str]) -> list[TrackedMask]:
    """What is to be found in a frame; the class id is the index of the phrase."""
    return [
        TrackedMask(
            o.track_id,
            classes.index(o.phrase),
            Rle(geometry.encode_masks(o.mask[None])[0], (o.mask.shape[0], o.mask.shape[1])),
        )
        for o in scene.objects
    ]


@dataclass(slots=True)
class Census:
    """What happens in a clip."""

    objects: int = 0
    masks: int = 0
    twins: int = 0  # objects that look like an earlier one
    crossings: int = 0  # stretches in which over a tenth of an object is behind something
    hidden: tuple[int, ...] = ()  # frames that an object is out of sight behind something, each
    entering: int = 0  # first seen at the frame's edge, later than the first frame
    leaving: int = 0  # last seen at the frame's edge, earlier than the last frame


@dataclass(frozen=True, slots=True)
class _Sight:
    time: int
    share: float  # of what lies inside the frame
    full_area: int  # px
    at_edge: bool


def census(clip: BenchClip) -> Census:
    """Count by the truth alone."""
    seen: dict[int, list[_Sight]] = {}
    phrase: dict[int, str] = {}
    width, height = clip.size_wh
    for t, scene in enumerate(clip.frames()):
        for o in scene.objects:
            x0, y0, x1, y1 = o.box_xyxy
            at_edge = x0 == 0 or y0 == 0 or x1 == width or y1 == height
            sight = _Sight(t, o.area / o.full_area, o.full_area, at_edge)
            seen.setdefault(o.track_id, []).append(sight)
            phrase[o.track_id] = o.phrase
    found = Census(objects=len(seen), twins=len(phrase) - len(set(phrase.values())))
    hidden = []
    for sights in seen.values():
        found.masks += len(sights)
        whole = max(s.full_area for s in sights)
        # Out of sight inside the frame: half of the object is there just before and just after.
        hidden += [
            after.time - before.time - 1
            for before, after in pairwise(sights)
            if after.time - before.time > 1 and min(before.full_area, after.full_area) > whole / 2
        ]
        covered = [s.share < 0.9 for s in sights]
        found.crossings += sum(
            now and not before for before, now in zip([False, *covered], covered, strict=False)
        )
        found.entering += sights[0].time > 0 and sights[0].at_edge
        found.leaving += sights[-1].time < clip.length - 1 and sights[-1].at_edge
    found.hidden = tuple(sorted(hidden))
    return found


def qualifies(found: Census) -> bool:
    """Whether a clip belongs to the set."""
    eventful = bool(found.hidden) or found.crossings >= MIN_CROSSINGS
    return eventful and found.objects >= 2 and max(found.hidden, default=0) <= MAX_HIDDEN


def choose(count: int) -> list[int]:
    """The first `count` seeds that qualify."""
    seeds: list[int] = []
    seed = FIRST_SEED
    while len(seeds) < count:
        if qualifies(census(BenchClip((seed,)))):
            seeds.append(seed)
        seed += 1
    return seeds


def main() -> None:
    if sys.argv[1:] == ["choose"]:
        print(choose(len(CHOSEN)))
        return
    print("| clip | size | frames | objects | twins | crossings | hidden, frames | enter | leave |")
    print("|---|---|---|---|---|---|---|---|---|")
    total = Census()
    for clip in CLIPS:
        c = census(clip)
        cells = (c.objects, c.twins, c.crossings, ", ".join(map(str, c.hidden)))
        size = "x".join(map(str, clip.size_wh))
        print(f"| {clip.name} | {size} | {clip.length} | ", end="")
        print(*cells, c.entering, c.leaving, sep=" | ", end=" |\n", flush=True)
        for name in ("objects", "masks", "twins", "crossings", "hidden", "entering", "leaving"):
            setattr(total, name, getattr(total, name) + getattr(c, name))
    print(
        f"\n{len(CLIPS)} clips, {sum(c.length for c in CLIPS)} frames, {total.masks} masks of "
        f"{total.objects} objects ({total.twins} twins); {total.crossings} crossings, "
        f"{len(total.hidden)} full occlusions of up to {max(total.hidden)} frames, "
        f"{total.entering} objects enter, {total.leaving} leave, 1 cut"
    )


if __name__ == "__main__":
    main()
