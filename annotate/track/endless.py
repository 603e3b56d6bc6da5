"""Records of a video that has no end, each settled by what is known when it is handed out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from annotate.data.types import FrameRecord
from annotate.track import settling
from annotate.track.tracks import Track


class EndlessSettling:
    """As `settling.settle`, but nobody waits for the end: what was handed out is not taken back.

    An object keeps its number while it lives, also where the track that was numbered first is
    merged into another. Numbers count the objects that were handed out, and are not given again.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # by track
        self._last = 0

    def settle(self, record: FrameRecord, moment: int, kept: Mapping[int, Track]) -> FrameRecord:
        """A provisional record, frame `moment` from 0, by the tracks that stand by now."""
        root_of = settling.roots(kept)
        chosen = settling.one_each(record.instances, moment, kept, root_of)
        said = {root: settling.verdict(kept[root], self._number(root, root_of)) for root in chosen}
        return settling.final(record, chosen, said, kept)

    def let_go(self, left: Collection[int]) -> None:
        """Forget the numbers of all tracks but those that are `left`."""
        self._numbers = {i: number for i, number in self._numbers.items() if i in left}

    def _number(self, root: int, root_of: Mapping[int, int]) -> int:
        merged = sorted(i for i, other in root_of.items() if other == root)
        known = [self._numbers[i] for i in (root, *merged) if i in self._numbers]
        if not known:
            self._last += 1
        self._numbers[root] = number = known[0] if known else self._last
        return number
