"""What a run came to: counts from the records, gates, a table for people and json for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from annotate.data.printable import printable
from annotate.record.run_summary import Counts, Gate
from annotate.store import atomic

LISTED_CLASSES = 12  # on a terminal


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything `summary.json` says."""

    status: str  # done | gate_failed | interrupted | stopped
    exit_code: int
    run: str
    version: str
    models: Mapping[str, Any]
    libraries: Mapping[str, Sequence[str]]  # versions that made the records, the last one last
    items: Mapping[str, int]  # found, done now, done before; frames done now
    changes: Mapping[str, Any]  # of the dataset since the last run, and what was retried
    left_out: Mapping[str, int]  # files in the dataset that are no items, by kind
    scaled: Mapping[str, int]  # pictures of more than 8 bits, done now, by how they were scaled
    notes: Sequence[str]  # of the dataset, for people, a line each
    counts: Counts | None  # None where the run has not come to its end
    seconds: Mapping[str, float]
    peak_memory_mb: Mapping[str, int]  # of this process: RAM, and GPU memory where there is one
    look_at: str = ""  # a picture of what was found, where one was drawn now
    advice: Sequence[str] = ()  # where exports have nothing of a class, a line each
    gates: Sequence[Gate] = field(default=())
    exports: Sequence[Mapping[str, Any]] = field(default=())
    error: str = ""  # why it stopped

    def write(self, path: Path) -> None:
        """Write it as json. Raises StorageError."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str)
        atomic.write_text(path, text + "\n")


def what_is_missing(*folders: Path) -> str:
    """Why the records in these run folders are not all there will be, "" if they are.

    Each has a summary of its own, or those of its shards; there is none while a run is at work.
    """
    shards: dict[str, set[str]] = {}  # labels that are done, by their number
    for folder in folders:
        said = {path.stem: _read(path) for path in folder.glob("summary*.json")}
        if "summary" in said:
            if reason := _short_of(said["summary"]):
                return f"{folder}: {reason}"
            continue
        for name, summary in said.items():
            label = name.removeprefix("summary-")
            if reason := _short_of(summary):
                return f"{folder}: shard {label.replace('-of-', '/')} {reason}"
            shards.setdefault(label.rpartition("-")[2], set()).add(label)
        if not said:
            return f"{folder}: the run has not come to its end"
    for of, labels in shards.items():
        if len(labels) < int(of):
            return f"{len(labels)} of {of} shards are done"
    return ""


def _short_of(said: Mapping[str, Any]) -> str:
    """Of a run or a shard that broke off: how far it came."""
    items = said.get("items", {})
    done, found = items.get("new", 0) + items.get("before", 0), items.get("found", 0)
    if said.get("status") in ("done", "gate_failed") or (found and done >= found):
        return ""
    return f"{said.get('status', 'broken off')} at {done} of {found} items"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = None
    return said if isinstance(said, dict) and isinstance(said.get("items", {}), dict) else {}


def table(summary: Summary) -> str:
    """The summary of a run that came to its end, for a terminal."""
    counts, items, changes = summary.counts, summary.items, summary.changes
    assert counts is not None
    shown = sorted(counts.kept, key=lambda name: -counts.kept[name])[:LISTED_CLASSES]
    rows = [(name, counts.kept[name], counts.recorded[name]) for name in counts.kept]
    rows = [row for row in rows if row[0] in shown]
    if more := len(counts.kept) - len(rows):
        rest = sum(n for name, n in counts.kept.items() if name not in shown)
        held = sum(n for name, n in counts.recorded.items() if name not in shown)
        rows.append((f"{more:,} more, in summary.json", rest, held))
    rows.append(("total", sum(counts.kept.values()), sum(counts.recorded.values())))
    width = max(len("class"), *(len(name) for name, _, _ in rows))
    lines = [
        f"{'class':<{width}}  {'kept':>8}  {'recorded':>8}",
        *(f"{name:<{width}}  {kept:>8}  {recorded:>8}" for name, kept, recorded in rows),
        "",
        f"items: {counts.ok} ok, {counts.failed} failed ({items['new']} done now, "
        f"{items['before']} before); {counts.frames} frames",
    ]
    lines += summary.notes
    if summary.scaled:
        how = ", ".join(f"{n:,} {kind}" for kind, n in sorted(summary.scaled.items()))
        lines.append(f"pictures of more than 8 bits, scaled to 8 (decode.depth): {how}")
    told = {k: n for k in ("changed", "retried", "removed", "unseen") if (n := changes[k])}
    if told:
        lines.append("since the last run: " + ", ".join(f"{n} {k}" for k, n in told.items()))
    lines += [f"  gone from the dataset: {item}" for item in changes["removed_items"]]
    lines += [f"  failed: {f['item']}: {f['error']}" for f in counts.failures]
    if counts.failed > len(counts.failures):
        lines.append(f"  ... and {counts.failed - len(counts.failures)} more, in the records")
    if items["new"] and summary.seconds.get("annotate"):
        rate = items["frames"] / summary.seconds["annotate"]
        stages = ", ".join(f"{k} {v:.1f} s" for k, v in summary.seconds.items())
        lines.append(f"rate: {rate:.1f} frames/s ({stages})")
    lines += [f"export: {exported(export)}" for export in summary.exports]
    lines += [
        f"gate failed: {g.name} is {g.value:g}, the limit is {g.limit:g}"
        for g in summary.gates
        if not g.passed
    ]
    lines += summary.advice
    if summary.look_at:
        lines.append(f"look at: {summary.look_at}")
    lines.append(f"run: {summary.run}")
    return "\n".join(map(printable, lines))


def exported(export: Mapping[str, Any]) -> str:
    """What one export came to, with its split and what is not in it, on one line."""
    sets = ", ".join(f"{name} {count}" for name, count in export["per_split"].items())
    return (
        f"{export['format']}: {export['instances']} instances on {export['images']} images"
        f"{f' ({sets})' if sets else ''} -> {export['path']}"
        f"{_counted('left out', export['left_out'])}"
        f"{_counted('no place for', export['not_held'])}"
    )


def _counted(what: str, counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{reason} {count:,}" for reason, count in counts.items() if count)
    return f"; {what}: {listed}" if listed else ""
