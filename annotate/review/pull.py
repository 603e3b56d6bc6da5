"""What people did in FiftyOne, brought back as decisions of the run."""

from __future__ import annotations

from collections.abc import Iterator

from bson import ObjectId

from annotate.config.settings import ReviewCommand
from annotate.data.decisions import Decision
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.review.dataset import ReviewDataset, size_wh
from annotate.review.documents import Changes, Document, changes
from annotate.review.places import places


def pull(run: Run, command: ReviewCommand) -> list[Decision]:
    """What people did in FiftyOne since the last build or pull, written to the run's reviews.

    To be called under the run's lock. What is pulled twice is decided once. Raises StorageError.
    """
    found: list[Decision] = []
    for place in places(run, command):
        if (dataset := place.find()) is not None:
            found += _pull(dataset, run, command)
    return found


def _pull(dataset: ReviewDataset, run: Run, command: ReviewCommand) -> list[Decision]:
    found: list[Decision] = []
    notes: list[tuple[ObjectId, Changes, bool]] = []
    reviewed = set()
    for sample in dataset.samples():
        new_track = _NewTracks(dataset, sample)
        for document, of_frame in _documents(dataset, sample):
            made = changes(
                document,
                size_wh(sample),
                new_track=new_track.of if of_frame else None,
                who=command.reviewer,
            )
            if made.decisions:
                found += made.decisions
                notes.append((document["_id"], made, of_frame))
                reviewed.add(sample["_id"])
    reviews.write(run.reviews_dir, found)
    # Only now: whatever happens in between, what was not noted is decided once more, the same way.
    for place, made, of_frame in notes:
        dataset.note(place, shown=made.shown, named=made.named, of_frame=of_frame)
    dataset.mark_reviewed(reviewed)
    return found


def _documents(dataset: ReviewDataset, sample: Document) -> Iterator[tuple[Document, bool]]:
    """A sample, then the frames it has if it is a video, which are told apart."""
    yield sample, False
    if dataset.kind == "videos":
        for frame in dataset.frames(sample):
            yield frame, True


class _NewTracks:
    """Track ids for what was drawn in one video: never used before, one for each object."""

    def __init__(self, dataset: ReviewDataset, sample: Document) -> None:
        self._dataset, self._sample = dataset, sample
        self._known: dict[ObjectId, int] = {}

    def of(self, label: Document) -> int:
        """The track of a label; FiftyOne ties labels of one object together by `instance`."""
        key = (label.get("instance") or {}).get("_id") or label["_id"]
        if key not in self._known:
            last = max(self._known.values(), default=0) or self._dataset.last_track(self._sample)
            self._known[key] = last + 1
        return self._known[key]
