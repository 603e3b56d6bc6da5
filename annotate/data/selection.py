"""What counts: instances from their threshold on, and what people decided in review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace

import numpy as np

from annotate.data.decisions import Applied, Decisions, Verdict
from annotate.data.types import ClassList, FrameRecord, Instance


@dataclass(slots=True)
class Tally:
    """What was taken and what was left out, counted on the way."""

    images: Counter[str] = field(default_factory=Counter)  # by split
    instances: Counter[tuple[str, int]] = field(default_factory=Counter)  # by split and class id
    left_out: Counter[str] = field(default_factory=Counter)  # by reason


class Selection:
    """Which records of a run an export takes, with the decisions of its review carried out.

    `all` leaves out what was rejected, pictures and instances. `reviewed` has the pictures about
    which, or on which, a person decided something. `accepted` has the pictures that were accepted,
    without instances that are to be fixed; of others only the instances that were accepted.
    """

    def __init__(
        self,
        decisions: Decisions,
        classes: ClassList,
        only: str = "all",
        tally: Tally | None = None,
    ) -> None:
        self._decisions, self._classes, self._only = decisions, classes, only
        self._tally = tally or Tally()
        self._idle = only == "all" and not decisions

    def take(self, record: FrameRecord) -> FrameRecord | None:
        """The part of a record that is exported, None when the whole picture is left out."""
        if self._idle or record.status != "ok":
            return record
        applied = self._decisions.apply(record, self._classes)
        self._leave_out("deleted in review", applied.deleted)
        self._leave_out("decision in conflict", len(applied.conflicts))
        if applied.verdict == "reject":
            self._leave_out("rejected", 1)
            return None
        if self._only == "reviewed" and not applied.touched:
            self._leave_out("not reviewed", 1)
            return None
        if self._only == "accepted":
            return self._accepted(applied)
        return self._without(applied, {"reject"}, "rejected")

    def _accepted(self, applied: Applied) -> FrameRecord | None:
        if applied.verdict == "accept":
            return self._without(applied, {"reject", "fix"}, "not accepted")
        if "accept" not in applied.verdicts.values():
            self._leave_out("not accepted", 1)
            return None
        return self._without(applied, {"reject", "fix", None}, "not accepted")

    def _without(self, applied: Applied, unwanted: Set[Verdict | None], reason: str) -> FrameRecord:
        record, verdicts = applied.record, applied.verdicts
        kept = tuple(i for i in record.instances if verdicts.get(i.instance_id) not in unwanted)
        self._leave_out(reason, len(record.instances) - len(kept))
        return replace(record, instances=kept)

    def _leave_out(self, reason: str, count: int) -> None:
        if count:
            self._tally.left_out[reason] += count


def kept_instances(
    record: FrameRecord, classes: ClassList, threshold: float, tally: Tally | None = None
) -> Iterator[Instance]:
    """The instances that count: from their class's own threshold, else `threshold`, on.

    What a person vouched for counts whatever its score and size. `tally` counts what is left out.
    """
    tally = tally or Tally()
    for instance in record.instances:
        spec = classes.classes[instance.class_id]
        limit = threshold if spec.threshold is None else spec.threshold
        if instance.vouched and instance.area:
            yield instance
        # Scores are stored as float32, in which 0.9 is a little less than 0.9.
        elif np.float32(instance.score) < np.float32(limit):
            tally.left_out["below threshold"] += 1
        elif spec.min_area is not None and instance.area < spec.min_area:
            tally.left_out["under min_area"] += 1
        elif spec.max_area is not None and instance.area > spec.max_area:
            tally.left_out["over max_area"] += 1
        elif spec.min_aspect is not None and aspect(instance.box_xyxy) < spec.min_aspect:
            tally.left_out["under min_aspect"] += 1
        elif spec.max_aspect is not None and aspect(instance.box_xyxy) > spec.max_aspect:
            tally.left_out["over max_aspect"] += 1
        elif (
            spec.veto is not None
            and instance.verified is not None
            and np.float32(instance.verified) < np.float32(spec.veto)
        ):
            tally.left_out["under veto"] += 1
        elif instance.area == 0:
            tally.left_out["empty mask"] += 1
        else:
            yield instance


def aspect(box_xyxy: tuple[float, float, float, float]) -> float:
    """Width over height of a box; as of one pixel where a side is shorter."""
    x0, y0, x1, y1 = box_xyxy
    return max(1.0, x1 - x0) / max(1.0, y1 - y0)
