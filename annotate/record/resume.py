"""From where a run goes on: what is done, what is left, what has changed in the dataset since."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from annotate.data.types import Item
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.discover import fingerprints
from annotate.discover.dataset import Dataset
from annotate.discover.fingerprints import Fingerprint, Noted
from annotate.errors import MediaError
from annotate.record import parquet
from annotate.record.asked import ChangedError
from annotate.record.parquet import Held
from annotate.record.run_folder import Run
from annotate.record.soundness import sound

log = logging.getLogger(__name__)

LISTED_REMOVED = 20


@dataclass(frozen=True, slots=True)
class ResumeState:
    """Of some items of a run; all by name."""

    held: Mapping[Path, Held]  # what is recorded, part by part
    seen: Mapping[str, Fingerprint]  # how the files look now
    todo: frozenset[str]
    changed: frozenset[str]  # recorded, but their files are others now
    retried: frozenset[str]  # recorded as failed, and to be done again
    unseen: Sequence[str]  # recorded, but cannot be seen or read now
    removed: Sequence[str]  # recorded, but gone from the dataset

    def drop_outdated(self) -> None:
        """Take records that will be made anew out of their parts."""
        parquet.drop_items(self.held, self.todo)

    def drop_second(self) -> bool:
        """Keep one part's records of an item; whether there were others.

        Two shards both do an item when they found different datasets.
        """
        first = set[str]()
        dropped = False
        for path in sorted(self.held):
            if again := self.held[path].items & first:
                parquet.drop_items({path: self.held[path]}, again)
                dropped = True
            first |= self.held[path].items
        return dropped

    def changes(self) -> dict[str, Any]:
        """What has changed since the last run, for the summary."""
        return {
            "changed": len(self.changed),
            "retried": len(self.retried),
            "unseen": len(self.unseen),
            "removed": len(self.removed),
            "removed_items": list(self.removed[:LISTED_REMOVED]),
        }


def resume_state(
    run: Run, items: Sequence[Item], dataset: Sequence[Item], *, retry_failed: bool
) -> ResumeState:
    """From where a run goes on with `items`, which are all of its dataset or a shard of it."""
    held = parquet.held_items(run.records_dir)
    seen = {item.name: fingerprints.fingerprint(item) for item in items}
    done = {name for part in held.values() for name in part.items}
    failed = {name for part in held.values() for name in part.failed} & seen.keys()
    known = fingerprints.read(run.stamps_dir, {path: part.items for path, part in held.items()})
    others = _others([item for item in items if item.name in known], seen, known)
    _note_times(run, held, seen, known, except_of={item.name for item in others})
    # A file that cannot be read now, as on a share that is not mounted, takes no good record away.
    unseen = sorted(i.name for i in others if i.name not in failed and not _readable(i))
    changed = {item.name for item in others}.difference(unseen)
    if unseen:
        log.warning(
            "%d items cannot be read now, such as %s: their records stay", len(unseen), unseen[0]
        )
    retried = failed - changed if retry_failed else set()
    removed = sorted(done - {item.name for item in dataset})
    for name in removed:
        log.warning("%s: its record stays, but it is gone from the dataset", name)
    return ResumeState(
        held=held,
        seen=seen,
        todo=frozenset((seen.keys() - done) | changed | retried),
        changed=frozenset(changed),
        retried=frozenset(retried),
        unseen=unseen,
        removed=removed,
    )


def refuse_another_dataset(folder: Path, found: Dataset) -> None:
    """ChangedError where a run folder holds records of another dataset than the one found.

    One that has moved is known by its files: names that are recorded, one at least with the bytes.
    """
    if not (folder / "config.yaml").is_file() or not parquet.part_paths(folder / "records"):
        return
    before = Run.open(folder).root
    if str(before) == str(found.root):
        return
    held = parquet.held_items(folder / "records")
    known = fingerprints.read(folder / "stamps", {path: part.items for path, part in held.items()})
    recorded = {name for part in held.values() for name in part.items}
    again = [item for item in found.items if item.name in recorded]
    unstamped = any(item.name not in known for item in again)  # a folder put together by hand
    stamped = (item for item in again if item.name in known)
    if not unstamped and not any(
        fingerprints.same(item, fingerprints.fingerprint(item), known[item.name])
        for item in stamped
    ):
        raise ChangedError(
            f"{folder} holds {len(recorded):,} records of another dataset ({before}, now "
            f"{found.root}; no file of it is there with the same name and bytes); on_change=new "
            "keeps them and begins a folder beside it, out=DIR another one; on_change=redo makes "
            f"all anew in place, and removes these {len(recorded):,} when that is done"
        )


def unchanged(run: Run) -> Run:
    """A run as it is read beside its pictures: without records of files that are others now.

    Nor those that are damaged. How many these are is said. To be used wherever records and
    pictures, or truth, meet.
    """
    run = sound(run)
    changed = changed_items(run)
    if changed:
        log.warning(
            "%d items are left out, such as %s: their files have changed since they were "
            "annotated; repeat the command that annotated them", len(changed), min(changed),
        )  # fmt: skip
    return replace(run, hidden=run.hidden | changed)


def changed_items(run: Run) -> frozenset[str]:
    """Recorded items whose files, which are on this machine, are others now."""
    if isinstance(run.root, str):
        return frozenset()
    changed: list[str] = []
    for folder in (run.path, *run.others):
        held = parquet.held_items(folder / "records")
        known = fingerprints.read(folder / "stamps", {p: part.items for p, part in held.items()})
        items = [run.source(name, "image") for name in known]
        seen = {item.name: fingerprints.fingerprint(item) for item in items}
        there = [item for item in items if seen[item.name] is not None]
        changed += [item.name for item in _others(there, seen, known)]
    return frozenset(changed)


def _others(
    items: Sequence[Item], seen: Mapping[str, Fingerprint], known: Mapping[str, Noted]
) -> list[Item]:
    """The items whose files are no more what was noted; the bytes decide where times differ."""
    with ThreadPoolExecutor(fingerprints.AT_ONCE) as pool:
        same = pool.map(lambda i: fingerprints.same(i, seen[i.name], known[i.name]), items)
        return [item for item, is_same in zip(items, same, strict=True) if not is_same]


def _note_times(
    run: Run,
    held: Mapping[Path, Held],
    seen: Mapping[str, Fingerprint],
    known: Mapping[str, Noted],
    except_of: set[str],
) -> None:
    """Note how files look whose bytes are the same, so that these are not read again next time."""
    other = {n for n in seen.keys() & known.keys() if seen[n] != known[n].seen} - except_of
    for path, part in held.items():
        if not part.items.isdisjoint(other):
            now = {
                name: replace(known[name], seen=seen[name]) if name in other else known[name]
                for name in sorted(part.items & known.keys())
            }
            fingerprints.write(run.stamps_dir, path.stem, now)


def _readable(item: Item) -> bool:
    """Whether a still, or the first frame of a video, can be decoded; stores are not asked."""
    if item.remote is not None:
        return True
    try:
        if item.media == "image":
            read_image(item.path)
        else:
            next(iter(open_video(item).frames()), None)
    except MediaError:
        return False
    return True
