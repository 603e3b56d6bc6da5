"""From where a run goes on: what is done, what is left, what has changed in the dataset since."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.data.types import Item
from annotate.discover import fingerprints
from annotate.discover.fingerprints import Fingerprint
from annotate.record import parquet
from annotate.record.parquet import Held
from annotate.record.run_folder import Run

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
    known = fingerprints.read(run.stamps_dir, {path: part.items for path, part in held.items()})
    changed = {name for name in seen.keys() & known.keys() if known[name] != seen[name]}
    failed = {name for part in held.values() for name in part.failed} & seen.keys()
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
        removed=removed,
    )
