"""Clicks as decisions of a run, and decisions of the page's run as those of another one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from annotate.data.decisions import SAME_IOU, Decision, Decisions
from annotate.data.geometry import box_iou
from annotate.data.types import FrameRecord, Instance
from annotate.record import reviews
from annotate.record.run_folder import Run

MARK = "point"  # in the ids of objects that were added here


def rejected(record: FrameRecord, instance: Instance) -> Decision:
    """That an object is none of the class; of a clip its whole track."""
    return Decision(
        frame_id=record.frame_id,
        item=record.item,
        instance_id=instance.instance_id,
        tags=("reject-track" if instance.track_id else "reject",),
        when=datetime.now(UTC),
        **_seen(instance),
    )


def added(record: FrameRecord, class_name: str, track_id: int) -> Decision:
    """That there is one more object, whose mask is to come. No other one has its id, anywhere."""
    return Decision(
        frame_id=record.frame_id,
        item=record.item,
        instance_id=f"{record.frame_id}:{MARK}-{uuid.uuid4().hex[:12]}",
        class_name=class_name,
        track_id=track_id or None,
        deleted=False,
        added=True,
        when=datetime.now(UTC),
    )


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of handing decisions over."""

    written: int
    taken_back: int  # that were written before, and are decisions no more
    unknown: int  # about what the run does not have


@dataclass(slots=True)
class Handover:
    """Hands the decisions of one job over to the run of a dataset; again where they change."""

    run: Run
    _tracks: dict[tuple[str, int], int] = field(default_factory=dict)  # of objects added, there
    _written: dict[tuple[str, str], Decision] = field(default_factory=dict)  # by frame and id

    def save(self, decisions: Sequence[Decision]) -> Saved:
        """Write what the decisions are in the run, and take back what they are no more.

        An object of the page is the one of its class in the run whose box overlaps it by half or
        more. Raises StorageError, also where another process writes to the run.
        """
        with self.run.held() as held:
            items = {decision.item for decision in decisions}
            records = {r.frame_id: r for r in held.frames() if r.item in items}
            known = held.decisions()
            made = [self._there(d, records, known, held.classes.names) for d in decisions]
            now = {(d.frame_id, d.instance_id or ""): d for d in made if d is not None}
            gone = [d for key, d in self._written.items() if key not in now]
            reviews.write(held.reviews_dir, [*map(_reversed, gone), *now.values()])
            held.push("reviews")
            self._written = now
        return Saved(len(now), len(gone), made.count(None))

    def _there(
        self,
        decision: Decision,
        records: Mapping[str, FrameRecord],
        known: Decisions,
        names: Sequence[str],
    ) -> Decision | None:
        record = records.get(decision.frame_id)
        if record is None or record.status != "ok":
            return None
        if decision.added:
            mask = decision.mask
            fits = mask is None or mask.size_hw == (record.height, record.width)
            if decision.class_name not in names or not fits:
                return None
            return self._added(decision, records, known)
        best = _counterpart(decision, record)
        if best is None:
            return None
        return replace(decision, instance_id=best.instance_id, **_seen(best))

    def _added(
        self, decision: Decision, records: Mapping[str, FrameRecord], known: Decisions
    ) -> Decision:
        if decision.track_id is None:
            return decision
        key = decision.item, decision.track_id
        if key not in self._tracks:
            self._tracks[key] = last_track(decision.item, records, known, self._tracks) + 1
        track_id = self._tracks[key]
        # What was carried along is called by its track: see `repropagate`.
        carried = f"{decision.frame_id}:carried-{track_id}"
        instance_id = decision.instance_id if decision.by == "person" else carried
        return replace(decision, track_id=track_id, instance_id=instance_id)


def _reversed(decision: Decision) -> Decision:
    """What takes a decision back."""
    when = datetime.now(UTC)
    if decision.added:
        return replace(decision, deleted=True, when=when)
    return replace(decision, tags=(), when=when)


def last_track(
    item: str,
    records: Mapping[str, FrameRecord],
    known: Decisions,
    others: Mapping[tuple[str, int], int],
) -> int:
    """The highest track id of an item, 0 where it has none."""
    own = [r for r in records.values() if r.item == item]
    ids = [i.track_id for r in own for i in r.instances]
    ids += [d.track_id or 0 for r in own for d in known.instances.get(r.frame_id, {}).values()]
    ids += [there for (name, _), there in others.items() if name == item]
    return max(ids, default=0)


def _counterpart(decision: Decision, record: FrameRecord) -> Instance | None:
    """The object of a record that a decision on another run's is about."""
    if decision.seen_box is None:
        return None
    near = [
        (box_iou(i.box_xyxy, decision.seen_box), i)
        for i in record.instances
        if i.class_name == decision.seen_class
    ]
    overlap, best = max(near, key=lambda pair: pair[0], default=(0.0, None))
    return best if overlap >= SAME_IOU else None


def _seen(instance: Instance) -> dict[str, Any]:
    return {
        "seen_class": instance.class_name,
        "seen_box": instance.box_xyxy,
        "seen_track": instance.track_id or None,
    }
