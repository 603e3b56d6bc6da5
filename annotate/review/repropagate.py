"""Carry what a person corrected in one frame through its track, with SAM 2's memory.

A box that was drawn or moved gets its mask. In a video every mask that a person drew or changed,
and every instance that they deleted, speaks for the frames of its track that are nearer to it than
to another decision of a person on that track. What a person decided is never changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from annotate.config.settings import SegmentSettings
from annotate.data.decisions import Decision, Decisions, fold
from annotate.data.types import FrameRecord, Image, Instance
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import MediaError
from annotate.models.memory_limit import MemoryLimit
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.segment.base import NO_MEMORY, Segmenter
from annotate.segment.finishing import Cut, cut_boxes, cut_masks, decode
from annotate.segment.video import VideoSegmenter

log = logging.getLogger(__name__)

WINDOW = 64  # frames held at a time on the way back, for which a video is decoded anew
MAX_ANCHORS = 1
TRACK = 1  # the one object of a bank

Key = tuple[str, int]  # item and track id


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a person decided about a track in one frame."""

    instance: Instance | None  # None: it is not there
    carried: bool  # it speaks for the frames around it; a verdict alone only ends what others say


def carry_on(run: Run, segmenter: Segmenter, settings: SegmentSettings) -> int:
    """Carry the corrections of a run through its tracks; how many decisions follow.

    `segmenter` is loaded only when there is something to be carried. To be called under the run's
    lock. Raises WeightsError.
    """

    def load() -> Segmenter:
        segmenter.load()
        return segmenter

    follow = repropagate(run, list(run.reviews()), load, settings)
    reviews.write(run.reviews_dir, follow)
    return len(follow)


def repropagate(
    run: Run, made: Sequence[Decision], load: Callable[[], Segmenter], settings: SegmentSettings
) -> list[Decision]:
    """What follows from all decisions of a run, `made` in their order; `load` gives the model.

    The run lengths of one video are in memory at a time, and some of its pictures. What cannot be
    read any more is passed over with a warning.
    """
    load = cache(load)
    follow = _boxes(run, made, load, settings)
    follow += _tracks(run, [*made, *follow], load, settings)
    return follow


def _boxes(
    run: Run, made: Sequence[Decision], load: Callable[[], Segmenter], settings: SegmentSettings
) -> list[Decision]:
    """Masks for the boxes that people drew or moved."""
    folded = fold(made)
    follow = []
    for record, boxed in _frames_with(run, folded, lambda d: bool(d.box_only and not d.deleted)):
        instances = {i.instance_id: i for i in folded.apply(record, run.classes).record.instances}
        boxed = [d for d in boxed if d.instance_id in instances]
        boxes = [instances[d.instance_id].box_xyxy for d in boxed if d.instance_id]
        if not boxes:
            continue
        try:
            masks = list(_masks_of(run, record, torch.tensor(boxes), load(), settings))
        except (MediaError, MemoryError) as error:
            log.warning("%s: not carried on: %s", record.frame_id, error)
            continue
        follow += [_carried(boxed[row], mask=cut.mask, box_only=False) for row, cut in masks]
    return follow


def _masks_of(
    run: Run, record: FrameRecord, boxes: Tensor, segmenter: Segmenter, settings: SegmentSettings
) -> Iterator[tuple[int, Cut]]:
    """Masks of boxes (k, 4) xyxy px in one picture, by their rows."""
    if segmenter.boxes_only:
        yield from cut_boxes(boxes.numpy(), (record.height, record.width))
        return
    picture = _picture(run, record)
    (embedding,) = MemoryLimit("pictures").alone(lambda: segmenter.embed([picture]))
    logits, _ = decode(segmenter, embedding, boxes, MemoryLimit("boxes"))
    yield from cut_masks(logits, (record.height, record.width), settings)


def _tracks(
    run: Run, made: Sequence[Decision], load: Callable[[], Segmenter], settings: SegmentSettings
) -> list[Decision]:
    """Masks, and absences, of the tracks about which a person said something new."""
    folded = fold(made)
    due = _due(made, folded)
    if not due:
        return []
    follow: list[Decision] = []
    segmenter = load()
    if segmenter.memory is None:
        log.warning("%d corrected tracks are not carried on: %s", len(due), NO_MEMORY)
        return []
    items = {item for item, _ in due}
    for item, rows in groupby(run.frames(), lambda r: r.item):
        if item not in items:
            continue
        raw = [r for r in rows if r.status == "ok"]
        if not raw:
            continue
        records = [folded.apply(r, run.classes).record for r in raw]
        for track_id in sorted(t for i, t in due if i == item):
            carrier = _Carrier(run, raw, records, track_id, segmenter, settings)
            try:
                follow += carrier.carry(_anchors(records, track_id, folded, due[item, track_id]))
            except (MediaError, MemoryError) as error:
                log.warning("%s: track %d is not carried on: %s", item, track_id, error)
    return follow


def _due(made: Sequence[Decision], folded: Decisions) -> dict[Key, set[str]]:
    """Tracks whose last decision on a shape is a person's; what people decided of each, by id."""
    people: dict[Key, set[str]] = {}
    waiting: dict[Key, bool] = {}
    for decision in made:
        if decision.instance_id is None:
            continue
        known = folded.instances[decision.frame_id][decision.instance_id]
        key = decision.item, known.track_id or known.seen_track or 0
        if not key[1]:  # of a still
            continue
        shaped = decision.mask is not None or decision.deleted is not None
        if decision.by == "person":
            people.setdefault(key, set()).add(decision.instance_id)
            waiting[key] = waiting.get(key, False) or shaped
        elif not decision.box_only and decision.instance_id not in people.get(key, ()):
            waiting[key] = False
    return {key: people[key] for key, is_due in waiting.items() if is_due}


def _anchors(
    records: Sequence[FrameRecord], track_id: int, folded: Decisions, people: set[str]
) -> dict[int, Anchor]:
    """What people decided about one track, by the position of its frame."""
    anchors = {}
    for position, record in enumerate(records):
        known = folded.instances.get(record.frame_id, {})
        there = {i.instance_id: i for i in record.instances}
        for instance_id in people & known.keys():
            decision = known[instance_id]
            if (decision.track_id or decision.seen_track) == track_id:
                carried = bool(decision.deleted or decision.mask is not None)
                anchors[position] = Anchor(there.get(instance_id), carried)
    return anchors


class _Carrier:
    """Carries one track of a video away from its anchors."""

    def __init__(
        self,
        run: Run,
        raw: Sequence[FrameRecord],
        records: Sequence[FrameRecord],
        track_id: int,
        segmenter: Segmenter,
        settings: SegmentSettings,
    ) -> None:
        """`raw` as they were made, `records` with the decisions carried out."""
        self._records, self._track_id = records, track_id
        self._memory, self._settings = VideoSegmenter(segmenter), settings
        self._source = run.source(records[0].item, records[0].media)
        self._names = run.classes.names
        self._seen = {i.instance_id: i for r in raw for i in r.instances}
        held = [p for p in range(len(records)) if self._there(p) is not None]
        # A track that the records have keeps its ends; of one that was drawn they are looked for.
        there = (i for p in held if (i := self._there(p)) is not None)
        self._drawn = not any(i.instance_id in self._seen for i in there)
        self._first, self._last = (0, len(records) - 1)
        if held and not self._drawn:
            self._first, self._last = held[0], held[-1]

    def carry(self, anchors: Mapping[int, Anchor]) -> Iterator[Decision]:
        """Decisions on the frames around the anchors, each of which goes half way to the next."""
        places = sorted(anchors)
        for number, place in enumerate(places):
            anchor = anchors[place]
            if not anchor.carried:
                continue
            before = (places[number - 1] + place) // 2 + 1 if number else self._first
            after = (place + places[number + 1]) // 2 if number + 1 < len(places) else self._last
            back, forth = range(place - 1, before - 1, -1), range(place + 1, after + 1)
            for way in (back, forth):
                if anchor.instance is None:
                    yield from self._absent(way)
                else:
                    yield from self._present(anchor.instance, place, way)

    def _absent(self, way: Iterable[int]) -> Iterator[Decision]:
        for position in way:
            if (there := self._there(position)) is not None:
                yield self._decision(position, there, deleted=True)

    def _present(self, instance: Instance, place: int, way: Sequence[int]) -> Iterator[Decision]:
        if not way:
            return
        bank = self._memory.bank(max_anchors=MAX_ANCHORS)
        pictures = self._pictures([place, *way])
        embedding = self._memory.embed(next(pictures))
        seeded = self._memory.seed_masks(embedding, torch.from_numpy(instance.mask.decode())[None])
        features = self._memory.encode(embedding, seeded.logits, seeded.present, prompted=True)
        bank.anchor(0, [TRACK], features, seeded.pointers)
        for time, (position, picture) in enumerate(zip(way, pictures, strict=True), start=1):
            cut = self._step(picture, bank, time)
            there = self._there(position)
            if cut is None:
                if self._drawn and there is None:
                    return  # it left the picture
                continue
            if there is not None and there.mask != cut.mask:
                yield self._decision(position, there, mask=cut.mask)
            elif there is None and self._drawn:
                yield self._added(position, instance, cut)

    def _step(self, picture: Image, bank: Any, time: int) -> Cut | None:
        embedding = self._memory.embed(picture)
        carried = self._memory.carry(embedding, bank, [TRACK], time)
        features = self._memory.encode(embedding, carried.logits, carried.present, prompted=False)
        bank.remember(time, [TRACK], features, carried.pointers)
        if float(carried.present[0]) <= 0:
            return None
        logits: Tensor = carried.logits
        return next((cut for _, cut in cut_masks(logits, picture.shape[:2], self._settings)), None)

    def _there(self, position: int) -> Instance | None:
        """The track in a frame, as far as it is known."""
        found = (i for i in self._records[position].instances if i.track_id == self._track_id)
        return next(found, None)

    def _decision(self, position: int, instance: Instance, **said: Any) -> Decision:
        record, seen = self._records[position], self._seen.get(instance.instance_id)
        if seen is not None:
            said |= {
                "seen_class": self._names[seen.class_id],
                "seen_box": seen.box_xyxy,
                "seen_track": seen.track_id,
            }
        return Decision(
            frame_id=record.frame_id,
            item=record.item,
            instance_id=instance.instance_id,
            by="propagation",
            **said,
        )

    def _added(self, position: int, like: Instance, cut: Cut) -> Decision:
        record = self._records[position]
        return Decision(
            frame_id=record.frame_id,
            item=record.item,
            instance_id=f"{record.frame_id}:carried-{self._track_id}",
            class_name=self._names[like.class_id],
            track_id=self._track_id,
            mask=cut.mask,
            box_only=False,
            added=True,
            deleted=False,  # whatever was carried here before
            by="propagation",
        )

    def _pictures(self, way: Sequence[int]) -> Iterator[Image]:
        """The pictures of frames that follow each other, forwards or backwards."""
        video = open_video(self._source)
        backwards = len(way) > 1 and way[1] < way[0]
        step = WINDOW if backwards else len(way)
        for start in range(0, len(way), step):
            some = [self._records[p] for p in way[start : start + step]]
            some = some[::-1] if backwards else some
            indices = [record.frame_index for record in some]
            frames = video.frames_at(indices, first_s=some[0].time_s)
            if not backwards:
                yield from (frame.image for frame in frames)
            else:
                yield from reversed([frame.image for frame in frames])


def _frames_with(
    run: Run, folded: Decisions, wanted: Callable[[Decision], bool]
) -> Iterator[tuple[FrameRecord, list[Decision]]]:
    """The records that have decisions of a kind, with these."""
    for record in run.frames():
        known = folded.instances.get(record.frame_id)
        if known and record.status == "ok":
            found = [d for d in known.values() if wanted(d)]
            if found:
                yield record, found


def _picture(run: Run, record: FrameRecord) -> Image:
    source = run.source(record.item, record.media)
    if record.media == "image":
        return read_image(source.path, depth=source.depth)
    frames = open_video(source).frames_at([record.frame_index], first_s=record.time_s)
    return next(frame.image for frame in frames)


def _carried(decision: Decision, **said: Any) -> Decision:
    """What follows for an instance from a decision on it."""
    bare = Decision(
        frame_id=decision.frame_id,
        item=decision.item,
        instance_id=decision.instance_id,
        seen_class=decision.seen_class,
        seen_box=decision.seen_box,
        seen_track=decision.seen_track,
        by="propagation",
    )
    return replace(bare, **said)
