"""What people decided in review, folded (the last word counts) and applied to records.

A decision is about an instance of a frame, or, without `instance_id`, about a picture; one about a
whole video has the video's item as its `frame_id`. It says only what it changes: a field that is
null leaves what earlier decisions said. Records stay as they are; `Decisions.apply` gives what they
come to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, get_args

from annotate.data import geometry
from annotate.data.types import ClassList, FrameRecord, Instance, Rle

Verdict = Literal["accept", "reject", "fix"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
TRACK_TAGS: Mapping[str, Verdict] = {f"{verdict}-track": verdict for verdict in VERDICTS}
"""Tags of one instance that speak for its whole track."""

By = Literal["person", "propagation"]
SAME_IOU = 0.5  # boxes that overlap less are not of one object


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision; a field that is None was not decided."""

    frame_id: str
    item: str
    instance_id: str | None = None  # None: about the picture, or the video
    tags: tuple[str, ...] | None = None  # all of them, sorted
    deleted: bool | None = None  # False: brought back
    class_name: str | None = None
    track_id: int | None = None
    mask: Rle | None = None
    box_only: bool | None = None  # the mask follows from a box that was drawn or moved
    added: bool = False  # there is no such instance in the records
    # What the instance was in the records, to see whether a new run still means the same one.
    seen_class: str | None = None
    seen_box: tuple[float, float, float, float] | None = None  # xyxy px
    seen_track: int | None = None
    by: By = "person"
    who: str | None = None
    when: datetime | None = None

    def about(self, instance: Instance, classes: ClassList) -> bool:
        """Whether this is the instance that was seen when it was decided."""
        if self.seen_box is None:
            return True
        same_class = classes.names[instance.class_id] == self.seen_class
        return same_class and geometry.box_iou(instance.box_xyxy, self.seen_box) >= SAME_IOU

    def then(self, later: Decision) -> Decision:
        """Both together: the later word counts where they differ."""
        if (
            self.seen_box is not None
            and later.seen_box is not None
            and geometry.box_iou(self.seen_box, later.seen_box) < SAME_IOU
        ):
            return later  # the run was made anew, and this is another object
        told = {n: v for n in _DECIDED if (v := getattr(later, n)) is not None}
        shaped = later.mask is not None or self.mask is None
        by = later.by if shaped else self.by
        return replace(self, **told, added=self.added or later.added, by=by)

    @property
    def verdict(self) -> Verdict | None:
        """What the tags say of this one; the severest counts."""
        return _verdict(self.tags)

    @property
    def track_verdict(self) -> Verdict | None:
        """What the tags say of the whole track."""
        return _verdict(TRACK_TAGS[tag] for tag in self.tags or () if tag in TRACK_TAGS)


_DECIDED = tuple(f.name for f in fields(Decision) if f.default is None)


@dataclass(frozen=True, slots=True)
class Applied:
    """A record with the decisions on it carried out."""

    record: FrameRecord  # rejected instances are still in it, deleted ones are not
    verdict: Verdict | None  # on the picture, else on its video
    verdicts: Mapping[str, Verdict]  # by instance id: on the instance, else on its track
    tags: Mapping[str, tuple[str, ...]]  # by instance id
    touched: bool  # a person decided something about the picture or on it
    deleted: int
    conflicts: tuple[str, ...]  # what could not be carried out, a line each


@dataclass(frozen=True, slots=True)
class Decisions:
    """All decisions of a run, folded."""

    pictures: Mapping[str, Decision] = field(default_factory=dict)  # by frame id; videos by item
    instances: Mapping[str, Mapping[str, Decision]] = field(default_factory=dict)
    """By frame id, then by instance id."""
    tracks: Mapping[tuple[str, int], Verdict] = field(default_factory=dict)  # by item, track id
    touched: Set[str] = frozenset()  # frame ids about which a person decided something

    def __bool__(self) -> bool:
        return bool(self.pictures or self.instances)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures or videos have each verdict, how many instances were changed how."""
        counted: Counter[str] = Counter()
        for picture in self.pictures.values():
            counted[f"pictures: {picture.verdict or 'other tags'}"] += 1
        for of_frame in self.instances.values():
            for decision in of_frame.values():
                counted["instances: carried on by SAM 2"] += decision.by == "propagation"
                if decision.by == "person":
                    kind = (
                        "drawn" if decision.added else "deleted" if decision.deleted else "decided"
                    )
                    counted[f"instances: {kind}"] += 1
        return {kind: n for kind, n in sorted(counted.items()) if n}

    def apply(self, record: FrameRecord, classes: ClassList) -> Applied:
        """What a record comes to. What can be carried out is, whatever else is in conflict."""
        known = self.instances.get(record.frame_id, {})
        kept: list[Instance] = []
        verdicts: dict[str, Verdict] = {}
        conflicts: list[str] = []
        deleted = 0
        for instance in record.instances:
            decision = known.get(instance.instance_id)
            if decision is not None and not decision.about(instance, classes):
                conflicts.append(f"{instance.instance_id}: the run has another object there now")
                decision = None
            if decision is not None:
                if decision.deleted:
                    deleted += 1
                    continue
                instance, problem = _edited(instance, decision, classes, record)
                conflicts += problem
            kept.append(instance)
        ids = {i.instance_id for i in record.instances}
        for instance_id, decision in known.items():
            if instance_id in ids or decision.deleted:
                continue
            if not decision.added:
                conflicts.append(f"{instance_id}: the run has no such instance any more")
                continue
            drawn, problem = _drawn(instance_id, decision, classes, record)
            kept += drawn
            conflicts += problem
        tags = {
            i.instance_id: known[i.instance_id].tags or () for i in kept if i.instance_id in known
        }
        for instance in kept:
            verdict = _verdict(tags.get(instance.instance_id))
            verdict = verdict or self.tracks.get((record.item, instance.track_id))
            if verdict is not None:
                verdicts[instance.instance_id] = verdict
        conflicts += _doubled(i for i in kept if verdicts.get(i.instance_id) != "reject")
        kept = [
            replace(i, vouched=True) if verdicts.get(i.instance_id) == "accept" else i for i in kept
        ]
        own, video = self.pictures.get(record.frame_id), self.pictures.get(record.item)
        verdict = (own.verdict if own else None) or (video.verdict if video else None)
        return Applied(
            record=replace(record, instances=tuple(kept)),
            verdict=verdict,
            verdicts=verdicts,
            tags=tags,
            touched=verdict is not None or record.frame_id in self.touched or bool(verdicts),
            deleted=deleted,
            conflicts=tuple(conflicts),
        )

    def conflicts(self, records: Iterable[FrameRecord], classes: ClassList) -> Iterator[str]:
        """What of the decisions these records, which are all of the run, cannot carry out."""
        left = {*self.pictures, *self.instances}
        for record in records:
            left -= {record.frame_id, record.item}
            if record.frame_id in self.instances:
                yield from self.apply(record, classes).conflicts
        for frame_id in sorted(left):
            yield f"{frame_id}: the run has no such picture any more"


def fold(decisions: Iterable[Decision]) -> Decisions:
    """Decisions in the order they were made, each picture's and instance's put together."""
    pictures: dict[str, Decision] = {}
    instances: dict[str, dict[str, Decision]] = {}
    touched: set[str] = set()
    for decision in decisions:
        if decision.by == "person":
            touched.add(decision.frame_id)
        if decision.instance_id is None:
            place, key = pictures, decision.frame_id
        else:
            place, key = instances.setdefault(decision.frame_id, {}), decision.instance_id
        place[key] = place[key].then(decision) if key in place else decision
    tracks = _track_verdicts(d for of_frame in instances.values() for d in of_frame.values())
    ordered = {f: dict(sorted(of_frame.items())) for f, of_frame in instances.items()}
    return Decisions(pictures, ordered, tracks, touched)


def _track_verdicts(decisions: Iterable[Decision]) -> dict[tuple[str, int], Verdict]:
    """By item and track id; the severest counts."""
    tracks: dict[tuple[str, int], Verdict] = {}
    for decision in decisions:
        track = decision.track_id or decision.seen_track
        verdict = decision.track_verdict
        if track and verdict and not decision.deleted:
            key = (decision.item, track)
            tracks[key] = max(verdict, tracks.get(key, verdict), key=_WEIGHT.index)
    return tracks


def about_tracks(folded: Decisions) -> set[str]:
    """Frames on which somebody spoke for a whole track; see `checked`."""
    return {
        frame_id
        for frame_id, of_frame in folded.instances.items()
        if any(d.track_verdict for d in of_frame.values())
    }


def checked(folded: Decisions, records: Iterable[FrameRecord], classes: ClassList) -> Decisions:
    """Decisions whose verdicts on tracks are about the tracks of this run.

    `records` are those of the frames `about_tracks`. In a run made anew another object may have the
    number; then the verdict waits, as the decision that it came with.
    """
    there = {i.instance_id: i for record in records for i in record.instances}
    valid = (
        decision
        for of_frame in folded.instances.values()
        for decision in of_frame.values()
        if decision.added
        or (
            (known := there.get(decision.instance_id or "")) is not None
            and decision.about(known, classes)
        )
    )
    return replace(folded, tracks=_track_verdicts(valid))


_WEIGHT: tuple[Verdict, ...] = ("accept", "fix", "reject")  # the last one counts


def _verdict(tags: Iterable[str] | None) -> Verdict | None:
    said = set(tags or ())
    found = [verdict for verdict in _WEIGHT if verdict in said]
    return found[-1] if found else None


def _edited(
    instance: Instance, decision: Decision, classes: ClassList, record: FrameRecord
) -> tuple[Instance, list[str]]:
    """The instance as decided, and what could not be done."""
    problems: list[str] = []
    changed: dict[str, Any] = {}
    if decision.class_name is not None:
        if decision.class_name in classes.names:
            changed["class_id"] = classes.names.index(decision.class_name)
        else:
            problems.append(_unknown_class(instance.instance_id, decision.class_name))
    if decision.track_id is not None:
        changed["track_id"] = decision.track_id
    if decision.mask is not None:
        if decision.mask.size_hw == (record.height, record.width):
            changed |= _shape(decision.mask)
        else:
            problems.append(f"{instance.instance_id}: the picture has another size now")
    if changed:
        changed["origin"] = "repropagated" if decision.by == "propagation" else "reviewed"
        changed["vouched"] = True
    return replace(instance, **changed), problems


def _drawn(
    instance_id: str, decision: Decision, classes: ClassList, record: FrameRecord
) -> tuple[list[Instance], list[str]]:
    """The instance that was drawn, if it can be, and what could not be done."""
    name, mask = decision.class_name, decision.mask
    if name is None or name not in classes.names:
        return [], [_unknown_class(instance_id, name or "")]
    if mask is None or mask.size_hw != (record.height, record.width):
        return [], [f"{instance_id}: the picture has another size now"]
    drawn = Instance(
        instance_id=instance_id,
        class_id=classes.names.index(name),
        phrase=name,
        score=1.0,
        mask_score=1.0,
        track_id=decision.track_id or 0,
        origin="repropagated" if decision.by == "propagation" else "reviewed",
        vouched=True,
        class_names=tuple(classes.names),
        **_shape(mask),
    )
    return [drawn], []


def _shape(mask: Rle) -> dict[str, Any]:
    pixels = mask.decode()
    box = geometry.mask_boxes(pixels[None])[0]
    return {"mask": mask, "box_xyxy": tuple(box.tolist()), "area": int(pixels.sum())}


def _doubled(instances: Iterable[Instance]) -> Iterator[str]:
    """A line for each track that several instances of one frame are said to be."""
    of_track: dict[int, list[str]] = {}
    for instance in instances:
        if instance.track_id:
            of_track.setdefault(instance.track_id, []).append(instance.instance_id)
    for track_id, ids in sorted(of_track.items()):
        if len(ids) > 1:
            yield f"{' and '.join(ids)}: track {track_id} twice in one frame"


def _unknown_class(instance_id: str, name: str) -> str:
    return f"{instance_id}: {name!r} is none of the run's classes"
