"""Which frames a contact sheet shows: of the whole dataset, and of every class that was found.

They are chosen from columns of the records, streamed. What is held of them is a few numbers per
item, and a few frames per tile and per class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.data.selection import Selection, kept_instances
from annotate.data.types import ClassList, Media
from annotate.record.counts import counting
from annotate.record.parquet import ROWS_PER_READ
from annotate.record.run_folder import Run

_HELD: Final = 4  # frames per tile and per class: some may turn out to be unreadable
_LOOKS_OF_A_VIDEO: Final = 3  # what a video is worth beside a still


@dataclass(frozen=True, slots=True)
class Choice:
    """A frame that may be shown."""

    frame_id: str
    item: str
    frame_index: int
    region: int  # of the dataset; there are about as many as tiles
    shows: frozenset[int] = frozenset()  # classes of which it has instances that count
    worth: float = 0.0  # how good a look it is, 0..1
    seeks: int | None = None  # the class whose best candidate below the threshold it has


class Survey:
    """The frames of a run that are worth a look, from which sheets are chosen."""

    def __init__(self, run: Run, threshold: float, tiles: int) -> None:
        self._tiles = tiles
        self._regions = _Regions(run, tiles)
        self._by_region: dict[int, list[Choice]] = defaultdict(list)
        self._by_class: dict[int, list[tuple[float, Choice]]] = defaultdict(list)
        self._below: dict[int, list[tuple[float, Choice]]] = defaultdict(list)
        self._held_below = max(_HELD, -(-2 * tiles // max(1, len(run.classes))))
        for look in _looks(run, threshold):
            self._add(look)

    def choose(self, gone: Set[str] = frozenset()) -> list[Choice]:
        """The frames of the sheet in the order of the dataset, then those below the threshold.

        None is `gone`, by its id or its item. Classes that have nothing but candidates below the
        threshold get the last tiles, a quarter at most if there is enough else to see.
        """
        found = {c.frame_id: c for c in self._found() if not {c.frame_id, c.item} & gone}
        classes = frozenset().union(*(c.shows for c in found.values()))
        missing = self.missing
        wanted = min(len(missing), max(1, self._tiles // 4)) if found else self._tiles
        covering = len(_chosen(list(found.values()), classes, self._tiles, until_covered=True))
        count = max(covering, self._tiles - wanted)
        shown = _chosen(list(found.values()), classes, count)
        shown.sort(key=lambda c: (c.item, c.frame_index))
        taken = {c.frame_id for c in shown} | gone
        return shown + self._candidates(missing, self._tiles - len(shown), taken)

    @property
    def missing(self) -> list[int]:
        """Classes that have candidates below the threshold and nothing else."""
        return sorted(self._below.keys() - self._by_class.keys())

    def _add(self, look: _Look) -> None:
        region = self._regions.of(look.item, look.frame_index)
        choice = Choice(look.frame_id, look.item, look.frame_index, region)
        if look.counts.any():
            scores = look.scores[look.counts]
            worth = float(scores.mean() * (1 - 0.5 ** len(scores)))
            found = look.best(look.counts)
            choice = replace(choice, shows=frozenset(found), worth=worth)
            held = self._by_region[region]
            held.append(choice)
            held.sort(key=lambda c: (-c.worth, c.frame_id))
            del held[_HELD:]
            for class_id, score in found.items():
                _hold(self._by_class[class_id], score, choice, _HELD)
        for class_id, score in look.best(~look.counts).items():
            _hold(self._below[class_id], score, replace(choice, seeks=class_id), self._held_below)

    def _found(self) -> Iterator[Choice]:
        for region in sorted(self._by_region):
            yield from self._by_region[region]
        for class_id in sorted(self._by_class):
            yield from (choice for _, choice in self._by_class[class_id])

    def _candidates(self, classes: list[int], room: int, taken: Set[str]) -> list[Choice]:
        """The best of each class, then the second best, and so on; no frame twice."""
        order = sorted(classes, key=lambda c: (-self._below[c][0][0], c))
        used = set(taken)
        chosen: list[Choice] = []
        for rank in range(self._held_below):
            for class_id in order:
                left = [c for _, c in self._below[class_id] if not {c.frame_id, c.item} & used]
                again = sum(c.seeks == class_id for c in chosen)
                if len(chosen) < room and left and again <= rank:
                    chosen.append(left[0])
                    used.add(left[0].frame_id)
        return chosen


def _hold(held: list[tuple[float, Choice]], score: float, choice: Choice, most: int) -> None:
    """Keep the best, of each item and region one."""
    place = (choice.item, choice.region)
    for n, (other, known) in enumerate(held):
        if (known.item, known.region) == place:
            if (-score, choice.frame_id) >= (-other, known.frame_id):
                return
            del held[n]
            break
    held.append((score, choice))
    held.sort(key=lambda pair: (-pair[0], pair[1].frame_id))
    del held[most:]


def _chosen(
    pool: list[Choice], classes: Set[int], count: int, *, until_covered: bool = False
) -> list[Choice]:
    """Up to `count` of the pool, one after another.

    While there are more tiles left than classes unseen, a new part of the dataset comes first;
    from then on those that show most of these classes.
    """
    chosen: list[Choice] = []
    unseen = set(classes)
    regions: set[int] = set()
    items: set[str] = set()

    def newly(choice: Choice) -> tuple[int, float]:
        """How many unseen classes it shows, and how new its place is."""
        fresh = (choice.region not in regions) + 0.5 * (choice.item not in items)
        return len(choice.shows & unseen), fresh

    def by_classes(choice: Choice) -> tuple[float, float, float]:
        return *newly(choice), choice.worth

    def by_place(choice: Choice) -> tuple[float, float]:
        new, fresh = newly(choice)
        return fresh, 0.25 * min(new, 4) + choice.worth

    left = sorted(pool, key=lambda c: (c.item, c.frame_index))
    while left and len(chosen) < count and not (until_covered and not unseen):
        must = until_covered or count - len(chosen) <= len(unseen)
        best = max(left, key=by_classes if must else by_place)
        left.remove(best)
        chosen.append(best)
        unseen -= best.shows
        regions.add(best.region)
        items.add(best.item)
    return chosen


class _Regions:
    """The dataset in about as many parts as there are tiles: by folder, medium and order.

    Each folder has one or more, larger ones more than smaller ones, but not in proportion; where
    there are more folders than tiles, some share one.
    """

    def __init__(self, run: Run, tiles: int) -> None:
        frames: dict[tuple[str, Media], int] = {}  # the last index of each item
        for batch in _batches(run, ["item", "media", "frame_index", "status"]):
            read = batch.filter(pc.equal(batch["status"], "ok"))
            last = pa.table(read).group_by(["item", "media"]).aggregate([("frame_index", "max")])
            for row in last.to_pylist():
                key = row["item"], row["media"]
                frames[key] = max(frames.get(key, 0), row["frame_index_max"])
        self._frames = {item: last + 1 for (item, _), last in frames.items()}
        by_folder = sorted(frames, key=lambda key: (_folder(key[0]), key[1], key[0]))
        groups = [
            [item for item, _ in rows]
            for _, rows in groupby(by_folder, key=lambda key: (_folder(key[0]), key[1]))
        ]
        weights = [
            sum(min(_LOOKS_OF_A_VIDEO, self._frames[item]) for item in group) ** 0.5
            for group in groups
        ]
        shares: Sequence[float] = (
            _shares(weights, tiles) if len(groups) <= tiles else [tiles / len(groups)] * len(groups)
        )
        self._place: dict[str, tuple[float, float]] = {}  # begin and length of each item, in tiles
        begin = 0.0
        for group, share in zip(groups, shares, strict=True):
            for n, item in enumerate(group):
                self._place[item] = begin + share * n / len(group), share / len(group)
            begin += share

    def of(self, item: str, frame_index: int) -> int:
        begin, length = self._place[item]
        return int(begin + length * (frame_index + 0.5) / self._frames[item])


def _folder(item: str) -> str:
    return PurePosixPath(item).parent.as_posix()


def _shares(weights: list[float], tiles: int) -> list[int]:
    """Tiles by weight, at least one each."""
    shares = [1] * len(weights)
    for _ in range(tiles - len(weights) if weights else 0):
        # The next one goes to whom it brings nearest to its due (Sainte-Laguë).
        shares[max(range(len(weights)), key=lambda n: weights[n] / (2 * shares[n] + 1))] += 1
    return shares


@dataclass(frozen=True, slots=True)
class _Look:
    """A frame with instances that count, or would with a lower threshold."""

    frame_id: str
    item: str
    frame_index: int
    classes: npt.NDArray[np.int64]  # (n,)
    scores: npt.NDArray[np.float64]  # (n,)
    counts: npt.NDArray[np.bool_]  # (n,)

    def best(self, rows: npt.NDArray[np.bool_]) -> dict[int, float]:
        """The best score of each class in these rows."""
        best: dict[int, float] = {}
        for class_id, score in zip(
            self.classes[rows].tolist(), self.scores[rows].tolist(), strict=True
        ):
            best[class_id] = max(score, best.get(class_id, 0.0))
        return best


def _looks(run: Run, threshold: float) -> Iterator[_Look]:
    """The frames that have something, as reviewed."""
    decisions = run.decisions()
    if decisions:  # they are about whole records
        yield from _reviewed(run, Selection(decisions, run.classes), threshold)
        return
    any_score = without_thresholds(run.classes)
    for batch in _batches(run, ["frame_id", "item", "frame_index", "instances"]):
        flat = pc.list_flatten(batch["instances"])
        parent = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
        classes, scores = (
            flat.field(name).to_numpy(zero_copy_only=False) for name in ("class_id", "score")
        )
        counts = counting(flat, classes, run.classes, threshold)
        there = np.flatnonzero(counting(flat, classes, any_score, 0.0))
        begins = np.flatnonzero(np.diff(parent[there], prepend=-1))
        for rows in np.split(there, begins[1:]) if len(there) else ():
            frame = int(parent[rows[0]])
            yield _Look(
                batch["frame_id"][frame].as_py(),
                batch["item"][frame].as_py(),
                batch["frame_index"][frame].as_py(),
                classes[rows].astype(np.int64),
                scores[rows].astype(np.float64),
                counts[rows],
            )


def _reviewed(run: Run, selection: Selection, threshold: float) -> Iterator[_Look]:
    any_score = without_thresholds(run.classes)
    for row in run.frames():
        if row.status != "ok" or (record := selection.take(row)) is None:
            continue
        there = list(kept_instances(record, any_score, 0.0))
        kept = {i.instance_id for i in kept_instances(record, run.classes, threshold)}
        if there:
            yield _Look(
                record.frame_id,
                record.item,
                record.frame_index,
                np.array([i.class_id for i in there], np.int64),
                np.array([i.score for i in there], np.float64),
                np.array([i.instance_id in kept for i in there], bool),
            )


def without_thresholds(classes: ClassList) -> ClassList:
    """The classes as they are, with no scores of their own from which on they count."""
    return ClassList(tuple(replace(spec, threshold=None) for spec in classes.classes))


def _batches(run: Run, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Columns of the records, a few rows at a time."""
    # Threads would read on far ahead of what is looked at.
    yield from run.table().to_batches(
        columns=columns,
        batch_size=ROWS_PER_READ,
        batch_readahead=1,
        fragment_readahead=1,
        use_threads=False,
    )
