"""FiftyOne's datasets of a run, made from its records and the decisions on them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby, islice
from pathlib import Path

from bson import ObjectId
from tqdm import tqdm

from annotate.config.settings import ReviewCommand
from annotate.data.decisions import Applied, Decision
from annotate.data.selection import kept_instances
from annotate.data.splits import split_items
from annotate.data.types import FrameRecord
from annotate.decode.video import FOLDER_FPS
from annotate.discover.files import numbered_images
from annotate.evaluate import uncertainty
from annotate.evaluate.uncertainty_index import CERTAIN, UncertaintyIndex, strongest
from annotate.record.run_folder import Run
from annotate.report.overlay import class_colours
from annotate.review import app
from annotate.review.dataset import BATCH, Kind, ReviewDataset, image_sample, video_sample
from annotate.review.documents import Document, Shown, frame_content, uncertainty_fields
from annotate.review.places import KINDS, places
from annotate.review.pull import pull
from annotate.review.root import root_here


def build(run: Run, command: ReviewCommand) -> tuple[list[ReviewDataset], list[Decision]]:
    """The datasets of a run as it is now, made or updated in place; those that have samples.

    What people did in them is brought back first, so that nothing is lost, and comes second. To be
    called under the run's lock. Memory grows by the signals and by what was decided, not by the
    masks.
    """
    brought = pull(run, command)
    uncertainty.write(run, command.threshold, near_duplicates=command.near_duplicates)
    return _Builder(run, command).build(), brought


class _Builder:
    """Streams a run's records into its datasets."""

    def __init__(self, run: Run, command: ReviewCommand) -> None:
        self._run, self._command = run, command
        root_here(run)
        self._decisions = run.decisions()
        export = command.export
        self._splits = split_items(run.items_with_pictures(), export.split, export.split_seed)
        self._uncertainty = UncertaintyIndex(uncertainty.read(run))
        self._places = {place.kind: place for place in places(run, command)}
        self._datasets: dict[Kind, ReviewDataset] = {}
        self._kept: dict[Kind, set[ObjectId]] = {kind: set() for kind in KINDS}
        self._stills: list[Document] = []
        self._sequences = False

    def build(self) -> list[ReviewDataset]:
        """All of it; what the run has no more is removed."""
        # Only where it takes long, and somebody looks on.
        bar = tqdm(unit="frame", mininterval=1.0, dynamic_ncols=True, delay=5, disable=None)
        with bar:
            annotated = (r for r in self._run.frames() if r.status == "ok")
            for (item, media), rows in groupby(annotated, lambda r: (r.item, r.media)):
                counted = _counted(rows, bar)
                path = self._run.source(item, media).path
                if media == "video" and not path.is_dir():
                    self._add_video(path, counted)
                else:
                    self._add_stills(path, counted)
            self._flush()
        for kind, place in self._places.items():
            dataset = self._datasets.get(kind) or place.find()
            if dataset is not None:
                dataset.keep_only(self._kept[kind])
        names, colours = self._run.classes.names, class_colours(self._run.classes)
        for dataset in self._datasets.values():
            sequences = self._sequences and dataset.kind == "stills"
            app.furnish(dataset, names, colours, sequences=sequences)
        made = [self._datasets[kind] for kind in KINDS if kind in self._datasets]
        app.join(made)
        return made

    def _dataset(self, kind: Kind) -> ReviewDataset:
        if kind not in self._datasets:
            self._datasets[kind] = self._places[kind].make()
        return self._datasets[kind]

    def _add_stills(self, path: Path, rows: Iterator[FrameRecord]) -> None:
        """A still, or the frames of a folder, which are stills that have their place in it."""
        numbered = numbered_images(path) if path.is_dir() else ()
        for record in rows:
            file = path
            if record.media == "video":
                self._sequences = True
                if record.frame_index >= len(numbered):
                    continue
                file = numbered[record.frame_index]
            content, applied = self._frame(record, tags=self._tags(record.frame_id))
            content |= self._sample(record, record.frame_id)
            content |= image_sample(file, (record.width, record.height))
            content["reviewed"] = applied.touched
            self._stills.append(content)
            if len(self._stills) == BATCH:
                self._flush()

    def _flush(self) -> None:
        stills, self._stills = self._stills, []
        if stills:
            self._kept["stills"] |= self._dataset("stills").put_stills(stills)

    def _add_video(self, path: Path, rows: Iterator[FrameRecord]) -> None:
        dataset = self._dataset("videos")
        first = next(rows)
        video = self._video(first, path)
        sample_id = dataset.put_video(video)
        self._kept["videos"].add(sample_id)
        numbers: set[int] = set()
        last, least, reviewed = first, CERTAIN, False
        following = chain([first], rows)
        while batch := list(islice(following, BATCH)):
            contents = []
            for record in batch:
                content, applied = self._frame(record)
                content["frame_number"] = record.frame_index + 1  # FiftyOne counts from 1
                contents.append(content)
                least = strongest(least, self._uncertainty.of(record.frame_id).get(None, CERTAIN))
                reviewed = reviewed or applied.touched
                last = record
            dataset.put_frames(sample_id, contents)
            numbers |= {c["frame_number"] for c in contents}
        dataset.keep_only_frames(sample_id, numbers)
        whole = self._video(first, path, last=last)
        dataset.put_video(whole | uncertainty_fields(least) | {"reviewed": reviewed})

    def _frame(self, record: FrameRecord, tags: tuple[str, ...] = ()) -> tuple[Document, Applied]:
        applied = self._decisions.apply(record, self._run.classes)
        names = self._run.classes.names
        # What was rejected stays in sight: it can be taken back.
        visible = kept_instances(applied.record, self._run.classes, self._command.threshold)
        uncertainties = self._uncertainty.of(record.frame_id)
        return frame_content(record, applied, visible, names, uncertainties, tags), applied

    def _video(self, first: FrameRecord, path: Path, last: FrameRecord | None = None) -> Document:
        last = last or first
        span_s = last.time_s - first.time_s
        fps = (last.frame_index - first.frame_index) / span_s if span_s > 0 else FOLDER_FPS
        size = first.width, first.height
        return {
            **uncertainty_fields(CERTAIN),
            **self._sample(first, first.item),
            **video_sample(path, size, fps, last.frame_index + 1),
            "reviewed": False,
            "shown": Shown(self._tags(first.item)).dump(),
        }

    def _tags(self, frame_id: str) -> tuple[str, ...]:
        decision = self._decisions.pictures.get(frame_id)
        return (decision.tags or ()) if decision else ()

    def _sample(self, record: FrameRecord, frame_id: str) -> Document:
        """What a still and a video have in common."""
        return {
            "frame_id": frame_id,
            "item": record.item,
            "frame_index": record.frame_index,
            "split": self._splits.of(record.item) or None,
            "tags": list(self._tags(frame_id)),
        }


def _counted(rows: Iterator[FrameRecord], bar: tqdm) -> Iterator[FrameRecord]:
    for row in rows:
        yield row
        bar.update()
