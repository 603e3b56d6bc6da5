"""What a run came to: counts from the records, gates, a table for people and json for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from annotate.record.counts import Counts
from annotate.runner.gates import Gate
from annotate.store import atomic


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything `summary.json` says."""

    status: str  # done | gate_failed | interrupted | stopped
    exit_code: int
    run: str
    version: str
    models: Mapping[str, Any]
    libraries: Mapping[str, Sequence[str]]  # versions that made the records, the last one last
    items: Mapping[str, int]  # found, done now, done before
    changes: Mapping[str, Any]  # of the dataset since the last run, and what was retried
    counts: Counts | None  # None where the run has not come to its end
    seconds: Mapping[str, float]
    gates: Sequence[Gate] = field(default=())
    exports: Sequence[Mapping[str, Any]] = field(default=())
    error: str = ""  # why it stopped

    def write(self, path: Path) -> None:
        """Write it as json. Raises StorageError."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str)
        atomic.write_text(path, text + "\n")


def table(summary: Summary) -> str:
    """The summary of a run that came to its end, for a terminal."""
    counts, items, changes = summary.counts, summary.items, summary.changes
    assert counts is not None
    width = max([len("class"), *(len(name) for name in counts.kept)])
    lines = [
        f"{'class':<{width}}  {'kept':>8}  {'recorded':>8}",
        *(
            f"{name:<{width}}  {counts.kept[name]:>8}  {counts.recorded[name]:>8}"
            for name in counts.kept
        ),
        f"{'total':<{width}}  {sum(counts.kept.values()):>8}  {sum(counts.recorded.values()):>8}",
        "",
        f"items: {counts.ok} ok, {counts.failed} failed ({items['new']} done now, "
        f"{items['before']} before); {counts.frames} frames",
    ]
    told = {k: n for k in ("changed", "retried", "removed", "unseen") if (n := changes[k])}
    if told:
        lines.append("since the last run: " + ", ".join(f"{n} {k}" for k, n in told.items()))
    lines += [f"  gone from the dataset: {_one_line(item)}" for item in changes["removed_items"]]
    lines += [f"  failed: {_one_line(f['item'])}: {f['error']}" for f in counts.failures]
    if counts.failed > len(counts.failures):
        lines.append(f"  ... and {counts.failed - len(counts.failures)} more, in the records")
    if items["new"] and summary.seconds.get("annotate"):
        rate = items["new"] / summary.seconds["annotate"]
        stages = ", ".join(f"{k} {v:.1f} s" for k, v in summary.seconds.items())
        lines.append(f"rate: {rate:.1f} items/s ({stages})")
    for export in summary.exports:
        lines.append(f"export: {export['format']} -> {export['path']}")
    lines += [
        f"gate failed: {g.name} is {g.value:g}, the limit is {g.limit:g}"
        for g in summary.gates
        if not g.passed
    ]
    return "\n".join(lines)


def _one_line(name: str) -> str:
    """A file name that cannot break a line or steer a terminal."""
    return name if name.isprintable() else repr(name)
