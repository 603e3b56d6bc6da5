"""What a report says in numbers, gathered from the records in one pass over their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.data.examples import asked_texts
from annotate.data.splits import Split, Splits, split_items
from annotate.evaluate import uncertainty
from annotate.record.counts import within_limits
from annotate.record.run_folder import Run
from annotate.report.overlay import class_colours

SCORE_EDGES: Final = np.linspace(0, 1, 21)
# Side of the square of an instance's area, in shares of that of the frame.
SIZE_EDGES: Final = np.array([0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0])
LENGTH_EDGES: Final = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, np.inf])  # frames
SWEPT: Final = np.arange(101) / 100  # thresholds, of which a page shows what they keep
LISTED_FAILURES: Final = 200
DOUBTFUL: Final = 0.5  # doubt from which an instance or a frame is one to look at

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class of the run."""

    name: str
    colour: str
    threshold: float
    own: bool  # whether the threshold is its own, which `threshold=` leaves alone
    recorded: int
    kept: int  # from the threshold on, within its limits of area
    frames: int  # that hold a kept instance
    scores: Sequence[int]  # recorded instances per bin of SCORE_EDGES
    swept: Sequence[int]  # instances that each threshold of SWEPT keeps
    doubtful: int  # kept instances with a doubt of DOUBTFUL or more
    mean_doubt: float  # of kept instances
    splits: Mapping[str, int]  # kept instances per split


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """The tracks of the run's videos, as far as they are kept."""

    videos: int
    count: int
    lengths: Sequence[int]  # tracks per bin of LENGTH_EDGES
    median_length: float  # frames
    gaps: int  # tracks that were out of sight for a while
    suspected: int  # instances at which an id may have changed hands


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a report says besides pictures."""

    name: str
    places: Sequence[str]  # the run folder as the user knows it, and others read with it
    asked: Mapping[str, Any]  # config.yaml
    weights: Mapping[str, Any]
    versions: Mapping[str, str]
    threshold: float
    items: int
    frames: int
    empty_frames: int
    failed: int
    failures: Sequence[tuple[str, str]]  # item and reason, the first ones
    classes: Sequence[ClassFacts]
    splits: Mapping[str, int]  # frames per split
    sizes: Sequence[int]  # kept instances per bin of SIZE_EDGES
    phrases: Sequence[tuple[str, str, int, int]]  # class, phrase, kept, recorded
    tracks: TrackFacts | None
    reasons: Mapping[str, int]  # frames per reason to look at them
    doubtful: int  # frames with a doubt of DOUBTFUL or more
    review: Mapping[str, int]  # what people decided, by kind; empty before anything was
    seconds: Mapping[str, float]  # by stage, of the last run that annotated something
    gates: Sequence[Mapping[str, Any]]  # of the last run: name, value, limit, passed
    evaluation: Mapping[str, Any] | None

    @property
    def kept(self) -> int:
        """Instances from their thresholds on."""
        return sum(c.kept for c in self.classes)


class _Tally:
    """Adds up batches of records."""

    def __init__(self, run: Run, threshold: float, splits: Splits) -> None:
        self._classes = run.classes
        self._splits = splits
        n = len(run.classes.classes)
        self.limits = np.array(run.classes.thresholds(threshold), np.float32)
        self.recorded, self.kept = np.zeros(n, int), np.zeros(n, int)
        self.frames_with = np.zeros(n, int)
        self.scores = np.zeros((n, len(SCORE_EDGES) - 1), int)
        self.fine = np.zeros((n, len(SWEPT)), int)  # the same, within limits of area, finer
        self.sizes = np.zeros(len(SIZE_EDGES) - 1, int)
        self.split_frames: Counter[str] = Counter()
        self.split_kept: Counter[tuple[str, int]] = Counter()
        self.phrases: Counter[tuple[int, str, bool]] = Counter()
        self.tracks: dict[tuple[str, int], list[int]] = {}  # frames seen, first and last of them
        self.items: set[str] = set()
        self.videos: set[str] = set()
        self.failures: list[tuple[str, str]] = []
        self.frames = self.empty = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the frames of one batch, and what they hold."""
        items, media = batch["item"].to_pylist(), batch["media"].to_pylist()
        self.items.update(items)
        failed = pc.not_equal(batch["status"], "ok").to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(failed):
            self.failures.append((items[row], batch["error"][row].as_py()))
        self.frames += int((~failed).sum())
        flat = pc.list_flatten(batch["instances"])
        parent = pc.list_parent_indices(batch["instances"]).to_numpy(zero_copy_only=False)
        class_ids, scores, areas = (
            flat.field(k).to_numpy(zero_copy_only=False) for k in ("class_id", "score", "area")
        )
        within = within_limits(flat, class_ids, self._classes)
        kept = within & (scores >= self.limits[class_ids])
        self._count_instances(class_ids, scores, kept)
        # As limits are compared: in float32, in which 0.9 is a little less than 0.9.
        step = np.searchsorted(SWEPT.astype(np.float32), scores, "right") - 1
        np.add.at(self.fine, (class_ids[within], step[within]), 1)
        pairs = np.unique(np.stack([parent[kept], class_ids[kept]], 1), axis=0)
        self.frames_with += np.bincount(pairs[:, 1], minlength=len(self.limits))
        self.empty += int((~failed).sum()) - len(np.unique(pairs[:, 0]))
        pixels = batch["width"].to_numpy(zero_copy_only=False).astype(float) * batch[
            "height"
        ].to_numpy(zero_copy_only=False)
        side = np.sqrt(areas[kept] / np.maximum(pixels[parent[kept]], 1))
        self.sizes += np.histogram(side, SIZE_EDGES)[0]
        for class_id, phrase, is_kept in zip(
            class_ids.tolist(), flat.field("phrase").to_pylist(), kept.tolist(), strict=True
        ):
            self.phrases[class_id, phrase, is_kept] += 1
        if self._splits.names:
            self._count_splits(items, ~failed, parent[kept], class_ids[kept])
        self._count_tracks(batch, items, media, flat, parent, kept)

    def _count_instances(self, class_ids: Ints, scores: Any, kept: Any) -> None:
        n = len(self.limits)
        self.recorded += np.bincount(class_ids, minlength=n)
        self.kept += np.bincount(class_ids[kept], minlength=n)
        column = np.clip(np.searchsorted(SCORE_EDGES, scores, "right") - 1, 0, len(SCORE_EDGES) - 2)
        np.add.at(self.scores, (class_ids, column), 1)

    def _count_splits(self, items: list[str], ok: Any, parent: Ints, class_ids: Ints) -> None:
        names = [self._splits.of(item) or "" for item in items]  # "": in none
        self.split_frames.update(name for name, fine in zip(names, ok, strict=True) if fine)
        self.split_kept.update(
            (names[row], class_id)
            for row, class_id in zip(parent.tolist(), class_ids.tolist(), strict=True)
        )

    def _count_tracks(
        self,
        batch: pa.RecordBatch,
        items: list[str],
        media: list[str],
        flat: pa.StructArray,
        parent: Ints,
        kept: Any,
    ) -> None:
        self.videos.update(item for item, kind in zip(items, media, strict=True) if kind == "video")
        ids = flat.field("track_id").to_numpy(zero_copy_only=False)
        index = batch["frame_index"].to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(kept & (ids > 0)):
            t = int(index[parent[row]])
            seen = self.tracks.setdefault((items[parent[row]], int(ids[row])), [0, t, t])
            seen[0] += 1
            seen[1], seen[2] = min(seen[1], t), max(seen[2], t)


def gather(run: Run, threshold: float, signal_table: pa.Table, split: Split, seed: int) -> Facts:
    """Read the records' columns once; masks are not read. `split` as exports are cut by."""
    splits = split_items(run.items_with_pictures(), split, seed)
    tally = _Tally(run, threshold, splits)
    columns = ["item", "media", "frame_index", "width", "height", "status", "error", "instances"]
    for batch in run.table().to_batches(columns=columns):
        tally.add(batch)
    names = run.classes.names
    queue = uncertainty.queue(signal_table)
    doubtful, mean_doubt = _doubts(signal_table, len(names))
    swept = tally.fine[:, ::-1].cumsum(1)[:, ::-1]
    summary = _read_json(run.path / "summary.json") or {}
    return Facts(
        name=run.path.resolve().name,
        places=[run.shown(), *map(str, run.others)],
        asked=run.asked(),
        weights=run.weights(),
        versions={
            "annotate": version("annotate"),
            **{name: ", ".join(used) for name, used in run.libraries().items()},
        },
        threshold=threshold,
        items=len(tally.items),
        frames=tally.frames,
        empty_frames=tally.empty,
        failed=len(tally.failures),
        failures=sorted(tally.failures)[:LISTED_FAILURES],
        classes=[
            ClassFacts(
                name=name,
                colour=colour,
                threshold=limit,
                own=run.classes.classes[n].threshold is not None,
                recorded=int(tally.recorded[n]),
                kept=int(tally.kept[n]),
                frames=int(tally.frames_with[n]),
                scores=tally.scores[n].tolist(),
                swept=swept[n].tolist(),
                doubtful=int(doubtful[n]),
                mean_doubt=float(mean_doubt[n]),
                splits={s: tally.split_kept[s, n] for s in sorted(splits.names)},
            )
            for n, (name, colour, limit) in enumerate(
                zip(
                    names,
                    class_colours(run.classes),
                    run.classes.thresholds(threshold),
                    strict=True,
                )
            )
        ],
        splits={s: tally.split_frames[s] for s in sorted(splits.names)},
        sizes=tally.sizes.tolist(),
        phrases=_phrases(run, tally.phrases),
        tracks=_tracks(tally, signal_table),
        reasons=_reasons(queue),
        doubtful=int(pc.sum(pc.greater_equal(queue["doubt"], DOUBTFUL)).as_py() or 0),
        review=run.decisions().counts,
        seconds=summary.get("seconds", {}),
        gates=summary.get("gates", []),
        evaluation=_read_json(run.path / "evaluation.json"),
    )


def _doubts(signal_table: pa.Table, classes: int) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Per class (n,) how many kept instances are doubtful, and the mean of their doubts."""
    rows = signal_table.filter(pc.is_valid(signal_table["instance_id"]))
    class_ids, doubts = rows["class_id"].to_numpy(), rows["doubt"].to_numpy()
    counts = np.bincount(class_ids, minlength=classes)
    sums = np.bincount(class_ids, doubts, minlength=classes)
    return (
        np.bincount(class_ids[doubts >= DOUBTFUL], minlength=classes),
        sums / np.maximum(counts, 1),
    )


def _phrases(run: Run, counted: Counter[tuple[int, str, bool]]) -> list[tuple[str, str, int, int]]:
    """Every phrase that was asked, with what it found; one that found nothing counts 0."""
    rows = []
    for class_id, spec in enumerate(run.classes.classes):
        for phrase in asked_texts(spec):
            kept = counted[class_id, phrase, True]
            rows.append((spec.name, phrase, kept, kept + counted[class_id, phrase, False]))
    return rows


def _tracks(tally: _Tally, signal_table: pa.Table) -> TrackFacts | None:
    if not tally.videos:
        return None
    seen = np.array(list(tally.tracks.values()), int).reshape(-1, 3)
    lengths = seen[:, 0]
    # Strides differ between runs, so a gap is told by the closest two frames of any track.
    step = min(((last - first) // max(n - 1, 1) for n, first, last in seen if n > 1), default=1)
    switch = signal_table.filter(pc.is_valid(signal_table["instance_id"]))["switch"]
    return TrackFacts(
        videos=len(tally.videos),
        count=len(seen),
        lengths=np.histogram(lengths, LENGTH_EDGES)[0].tolist(),
        median_length=float(np.median(lengths)) if len(lengths) else 0.0,
        gaps=int((seen[:, 2] - seen[:, 1] > (lengths - 1) * max(step, 1)).sum()),
        suspected=int(pc.sum(pc.greater(switch, 0)).as_py() or 0),
    )


def _reasons(queue: pa.Table) -> dict[str, int]:
    """How many frames each signal is the strongest reason to look at, the most frequent first."""
    counted = Counter(_some(queue["why"].to_pylist()))
    return dict(counted.most_common())


def _some(values: Iterable[str]) -> Iterable[str]:
    return (value for value in values if value)


def _read_json(path: Any) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
