"""`dry_run=true`: what a command would do, from names and headers; nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from annotate.config.target import Target
from annotate.data.types import Item
from annotate.errors import WeightsError
from annotate.models import hub
from annotate.record import parquet
from annotate.runner.plan import Plan
from annotate.runner.progress import told_duration, total_frames

OPENED = 200  # videos whose headers are read; the others are taken to be as long
NO_TIME = "not known before some of it is done; limit=20 measures it"


def told(plan: Plan) -> str:
    """A page for a terminal. Raises ChangedError where the run folder holds other records."""
    rows = [("dataset", text) for text in _dataset(plan)]
    rows.append(("classes", _classes(plan)))
    settings = plan.settings
    targets = [*settings.grounder.parts, settings.segmenter]
    if not getattr(settings.verifier.locate(), "is_none", False):
        targets.append(settings.verifier)
    rows += [("model", _model(target)) for target in targets]
    folder = next(plan.run_folders())
    done = _done(folder) & {item.name for unit in plan.units for item in unit.items}
    todo = [i for unit in plan.units for i in unit.items if i.name not in done]
    state = f"{len(done):,} items are done, {len(todo):,} to do" if done else "new"
    rows.append(("run", f"{folder}: {state}"))
    rows.append(("exports", ", ".join(plan.exporters) or "none"))
    before = _summary_of(folder)
    rows.append(("time", _time(plan, todo, before)))
    rows.append(("memory", _memory(before)))
    width = max(len(name) for name, _ in rows)
    lines, last = ["dry run: nothing is annotated"], ""
    for name, text in rows:
        lines.append(f"{'' if name == last else name:<{width}}  {text}")
        last = name
    return "\n".join(lines)


def _dataset(plan: Plan) -> Iterator[str]:
    items = [item for unit in plan.units for item in unit.items]
    for media, kind in (("image", "images"), ("video", "videos")):
        some = [item for item in items if item.media == media]
        if not some:
            continue
        kinds = Counter(PurePosixPath(i.name).suffix.lower() or "folder" for i in some)
        shown = ", ".join(f"{n:,} {suffix}" for suffix, n in kinds.most_common(5))
        size = _size(sum(map(_bytes, some)))
        yield f"{len(some):,} {kind} ({shown}){f', {size}' if size else ''}"
        if media == "video":
            yield _frames(some, plan.settings.video.stride)[1]
    yield from plan.notes


def _frames(videos: list[Item], stride: int) -> tuple[int, str]:
    """How many frames videos have, and how that is known."""
    looked = videos[:: -(-len(videos) // OPENED)]
    frames, unknown = total_frames(looked, stride)
    known = len(looked) - unknown
    if not known:
        return 0, "frames: the videos do not say how many"
    total = round(frames * len(videos) / known)
    about = "" if known == len(videos) else f", by {known:,} of the videos"
    return total, f"{total:,} frames at video.stride={stride}{about}"


def _classes(plan: Plan) -> str:
    specs = plan.classes.classes
    shown = [
        spec.name + (f" ({len(spec.phrases)} phrases)" if len(spec.phrases) > 1 else "")
        for spec in specs[:10]
    ]
    more = f" and {len(specs) - 10:,} more" if len(specs) > 10 else ""
    return f"{len(specs):,}: {', '.join(shown)}{more}"


def _model(target: Target) -> str:
    source: hub.Source | None = getattr(target.make(object), "source", None)
    if source is None:
        return target.shown
    try:
        size = _size(hub.fetch(source, download=False).size_bytes)
        return f"{target.shown} ({size}, here)"
    except WeightsError:
        return f"{target.shown} (not here, would be fetched)"


def _done(folder: Path | str) -> set[str]:
    """Items that have records."""
    if not isinstance(folder, Path):
        return set()
    held = parquet.held_items(folder / "records") if (folder / "records").is_dir() else {}
    return {name for part in held.values() for name in part.items}


def _summary_of(folder: Path | str) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        said = json.loads((Path(folder) / "summary.json").read_text("utf-8"))
        if isinstance(said, dict):
            return said
    return {}


def _time(plan: Plan, todo: list[Item], before: Mapping[str, Any]) -> str:
    """By what a frame took last time in this run folder."""
    if not todo:
        return "that of the exports"
    try:
        frames, seconds = before["items"]["frames"], before["seconds"]["annotate"]
        a_frame = seconds / frames
    except (KeyError, TypeError, ZeroDivisionError):
        return NO_TIME
    videos = [item for item in todo if item.media == "video"]
    left = len(todo) - len(videos)
    if videos:
        left += _frames(videos, plan.settings.video.stride)[0]
    return (
        f"about {told_duration(left * a_frame)} for {left:,} frames, as the {frames:,} frames "
        f"of the last time took ({1 / a_frame:.1f} frames/s)"
    )


def _memory(before: Mapping[str, Any]) -> str:
    peak = before.get("peak_memory_mb")
    if not isinstance(peak, dict) or not peak:
        return NO_TIME
    return ", ".join(f"{megabytes / 1000:.1f} GB of {kind}" for kind, megabytes in peak.items())


def _bytes(item: Item) -> int:
    if item.remote is not None:
        return item.remote.seen[0] if item.remote.seen else 0
    try:
        return item.path.stat().st_size if item.path.is_file() else 0
    except OSError:
        return 0


def _size(size_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return ""
