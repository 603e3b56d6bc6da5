"""A run as a FiftyOne dataset: where it is kept, and documents in and out.

A dataset is of stills or of videos, because FiftyOne's are of one kind each. Documents go to its
database in batches, by pymongo; all else through its own interface.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bson import ObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from annotate.data.decisions import VERDICTS
from annotate.errors import ConfigError
from annotate.record.run_folder import Run
from annotate.review.documents import INSTANCES, UNCERTAINTY_FIELDS, Document, digest
from annotate.store.fiftyone_database import connect

log = logging.getLogger(__name__)

Kind = Literal["stills", "videos"]
BATCH = 200  # documents per call of the database


@dataclass(frozen=True, slots=True)
class Place:
    """A dataset of one kind that may or may not exist yet."""

    run: Run
    name: str
    kind: Kind

    @property
    def dataset_name(self) -> str:
        return self.name if self.kind == "stills" else f"{self.name}-videos"

    def find(self) -> ReviewDataset | None:
        """The dataset that is there; ConfigError when it is not of this run."""
        fo = connect()
        if not fo.dataset_exists(self.dataset_name):
            return None
        dataset = fo.load_dataset(self.dataset_name)
        if dataset.info.get("run") != _address(self.run):
            owner = dataset.info.get("run", "somebody else's")
            raise ConfigError(
                f"FiftyOne has a dataset {self.dataset_name!r} already, of {owner}; choose another "
                "one with name=NAME"
            )
        return ReviewDataset(fo, dataset, self.kind)

    def make(self) -> ReviewDataset:
        """The dataset, created where there is none; its fields and looks are those of the run."""
        if (found := self.find()) is None:
            fo = connect()
            dataset = fo.Dataset(self.dataset_name, persistent=True)
            dataset.media_type = "image" if self.kind == "stills" else "video"
            dataset.info = {"run": _address(self.run)}
            dataset.save()
            found = ReviewDataset(fo, dataset, self.kind)
        found.declare()
        return found


def _address(run: Run) -> str:
    return run.shown() if run.working_copy else str(run.path.resolve())


class ReviewDataset:
    """One FiftyOne dataset; its documents in and out."""

    def __init__(self, fo: Any, dataset: Any, kind: Kind) -> None:
        self._fo, self.dataset, self.kind = fo, dataset, kind
        self._samples: Collection[Document] = dataset._sample_collection
        self._frames: Collection[Document] | None = dataset._frame_collection

    @property
    def name(self) -> str:
        """What FiftyOne calls it."""
        return str(self.dataset.name)

    @property
    def labels_path(self) -> str:
        """Where its labels are, as FiftyOne names it."""
        return f"{'frames.' if self.kind == 'videos' else ''}{INSTANCES}"

    def declare(self) -> None:
        """Declare every field, so that the App offers it as a filter before it has a value."""
        fo = self._fo
        uncertainties = {
            n: fo.StringField if n == "why" else fo.FloatField for n in UNCERTAINTY_FIELDS
        }
        texts = dict.fromkeys(("frame_id", "item", "split", "shown", "built"), fo.StringField)
        label = {
            **dict.fromkeys(("annotate_id", "phrase", "origin"), fo.StringField),
            **dict.fromkeys(("mask_score", "agreement", "verified"), fo.FloatField),
            **{"area": fo.IntField, "index": fo.IntField},
            **uncertainties,
        }
        fields = {**texts, **uncertainties, "reviewed": fo.BooleanField, "frame_index": fo.IntField}
        detections: dict[str, Any] = {"embedded_doc_type": fo.Detections}
        labels = fo.EmbeddedDocumentField
        self._declare(fields)
        if self.kind == "stills":
            self._declare({INSTANCES: labels}, **detections)
            self._declare({f"{INSTANCES}.detections.{n}": f for n, f in label.items()})
        else:
            framed = {n: f for n, f in fields.items() if n not in ("reviewed", "split")}
            self._declare({f"frames.{n}": f for n, f in framed.items()})
            self._declare({f"frames.{INSTANCES}": labels}, **detections)
            self._declare({f"frames.{INSTANCES}.detections.{n}": f for n, f in label.items()})
        for name in ("frame_id", "doubt"):
            self.dataset.create_index(name)
        self._samples, self._frames = (
            self.dataset._sample_collection,
            self.dataset._frame_collection,
        )

    def _declare(self, fields: Mapping[str, Any], **options: Any) -> None:
        for name, kind in fields.items():
            if not self.dataset.has_field(name):
                if name.startswith("frames."):
                    self.dataset.add_frame_field(name.removeprefix("frames."), kind, **options)
                else:
                    self.dataset.add_sample_field(name, kind, **options)

    def samples(self) -> Iterator[Document]:
        """Every sample as it is stored: stills with their labels, videos without."""
        yield from self._samples.find({}, batch_size=BATCH)

    def frames(self, sample: Document) -> Iterator[Document]:
        """The frames of a video as they are stored, in their order."""
        assert self._frames is not None
        query = {"_sample_id": sample["_id"]}
        yield from self._frames.find(query, batch_size=BATCH).sort("frame_number", 1)

    def last_track(self, sample: Document) -> int:
        """The highest track id that a video shows; 0 without tracks."""
        assert self._frames is not None
        path = f"{INSTANCES}.detections"
        stages: list[Document] = [
            {"$match": {"_sample_id": sample["_id"]}},
            {"$unwind": f"${path}"},
            {"$group": {"_id": None, "last": {"$max": f"${path}.index"}}},
        ]
        found = next(iter(self._frames.aggregate(stages)), {})
        return int(found.get("last") or 0)

    def put_stills(self, contents: Sequence[Document]) -> set[ObjectId]:
        """Write stills, new ones and those that differ; the ids of all of them."""
        return self._put(self._samples, "frame_id", contents, {"_media_type": "image"}, {})

    def put_video(self, content: Document) -> ObjectId:
        """Write a video without its frames."""
        video = {"_media_type": "video"}
        (found,) = self._put(self._samples, "frame_id", [content], video, {})
        return found

    def put_frames(self, video: ObjectId, contents: Sequence[Document]) -> None:
        """Write frames of a video, which carry their `frame_number`."""
        assert self._frames is not None
        place = {"_sample_id": video}
        self._put(self._frames, "frame_number", contents, place, place)

    def _put(
        self,
        collection: Collection[Document],
        key: str,
        contents: Sequence[Document],
        always: Document,
        among: Document,
    ) -> set[ObjectId]:
        query = {**among, key: {"$in": [c[key] for c in contents]}}
        there = {d[key]: d for d in collection.find(query, {key: 1, "built": 1})}
        now = datetime.now(UTC)
        writes: list[InsertOne[Document] | UpdateOne] = []
        ids = set()
        for content in contents:
            built = digest(content)
            fields = {**content, "built": built, "last_modified_at": now}
            known = there.get(content[key])
            if known is None:
                new = {
                    "_id": ObjectId(),
                    "_dataset_id": self.dataset._doc.id,
                    "created_at": now,
                    **always,
                }
                if collection is self._samples:
                    new["_rand"] = random.random()
                writes.append(InsertOne(new | fields))
                ids.add(new["_id"])
                continue
            ids.add(known["_id"])
            if known.get("built") != built:
                writes.append(UpdateOne({"_id": known["_id"]}, {"$set": fields}))
        if writes:
            collection.bulk_write(writes, ordered=False)
        return ids

    def keep_only(self, samples: set[ObjectId]) -> None:
        """Remove samples that the run has no more."""
        gone = [d["_id"] for d in self._samples.find({}, {"_id": 1}) if d["_id"] not in samples]
        for start in range(0, len(gone), BATCH):
            some = {"$in": gone[start : start + BATCH]}
            self._samples.delete_many({"_id": some})
            if self._frames is not None:
                self._frames.delete_many({"_sample_id": some})

    def keep_only_frames(self, video: ObjectId, numbers: set[int]) -> None:
        """Remove frames of a video that the run has no more."""
        assert self._frames is not None
        there = self._frames.find({"_sample_id": video}, {"frame_number": 1})
        gone = [d["_id"] for d in there if d["frame_number"] not in numbers]
        self._frames.delete_many({"_id": {"$in": gone}})

    def note(
        self,
        document: ObjectId,
        *,
        shown: str,
        named: Mapping[ObjectId, Document],
        of_frame: bool,
    ) -> None:
        """Note that the decisions on a document are safe, and how its drawn labels are called."""
        collection = self._frames if of_frame else self._samples
        assert collection is not None
        fields: Document = {"shown": shown, "built": ""}  # the next build writes it anew
        filters = []
        for number, (label, values) in enumerate(named.items()):
            path = f"{INSTANCES}.detections.$[l{number}]"
            fields |= {f"{path}.{name}": value for name, value in values.items()}
            filters.append({f"l{number}._id": label})
        change = {"$set": fields}
        collection.update_one({"_id": document}, change, array_filters=filters or None)

    def mark_reviewed(self, samples: Iterable[ObjectId]) -> None:
        """Note that people have looked at samples."""
        ids = list(samples)
        for start in range(0, len(ids), BATCH):
            query = {"_id": {"$in": ids[start : start + BATCH]}}
            self._samples.update_many(query, {"$set": {"reviewed": True}})

    def left(self) -> tuple[int, float]:
        """How many samples have no verdict yet, and the highest doubt among them."""
        query = {"tags": {"$nin": list(VERDICTS)}}
        first = self._samples.find_one(query, {"doubt": 1}, sort=[("doubt", -1)])
        return self._samples.count_documents(query), float(first["doubt"]) if first else -1.0

    def progress(self) -> dict[str, int]:
        """How many samples there are, were looked at, and have which tag; kept in `info`."""
        count = self._samples.count_documents
        progress = {"of": count({}), "reviewed": count({"reviewed": True})}
        progress |= {verdict: count({"tags": verdict}) for verdict in VERDICTS}
        self.dataset.info["progress"] = progress
        self.dataset.save()
        return progress


def image_sample(path: Path, size_wh: tuple[int, int]) -> Document:
    """The fields of a still that do not depend on its labels. Its file is named, never copied."""
    width, height = size_wh
    return {
        "filepath": str(path),
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
    }


def video_sample(path: Path, size_wh: tuple[int, int], fps: float, frames: int) -> Document:
    """The fields of a video that do not depend on its labels; `frames` is the number it has."""
    width, height = size_wh
    return {
        "filepath": str(path),
        "metadata": {
            "_cls": "VideoMetadata",
            "frame_width": width,
            "frame_height": height,
            "frame_rate": fps,
            "total_frame_count": frames,
            "duration": frames / fps,
        },
    }


def size_wh(sample: Document) -> tuple[int, int]:
    """Width and height in pixels of a stored sample's pictures."""
    metadata = sample["metadata"]
    prefix = "frame_" if "frame_width" in metadata else ""
    return metadata[f"{prefix}width"], metadata[f"{prefix}height"]


DATABASE_ERRORS = (PyMongoError,)
