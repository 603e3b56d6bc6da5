"""Records that are made anew: set aside as a run folder of their own until those are written.

replaced/1/  config.yaml  classes.yaml  weights.yaml  summary.json  records/  stamps/  unfinished/
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from annotate.errors import StorageError
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.store import atomic

log = logging.getLogger(__name__)

SAID = ("config.yaml", "classes.yaml", "weights.yaml", "summary*.json")


def set_aside(run: Run) -> None:
    """Move what a run has recorded to `replaced/N`, which can be read and exported as before.

    To be called under the run's lock, once all that makes new records is checked and loaded. A run
    that is killed in between begins it again. Raises StorageError.
    """
    number = 1 + max((int(p.name) for p in _folders(run)), default=0)
    place = run.path / "replaced" / str(number)
    try:
        place.mkdir(parents=True)
        for path in (path for said in SAID for path in run.path.glob(said)):
            shutil.copy2(path, place / path.name)
        # Records last: as long as they are in place, the run knows that they were made otherwise.
        for folder in (run.unfinished_dir, run.stamps_dir, run.records_dir):
            if folder.exists():
                folder.rename(place / folder.name)
        (run.path / "weights.yaml").unlink(missing_ok=True)
        run.records_dir.mkdir()
        atomic.sync_folder(run.path)
    except OSError as error:
        raise StorageError(f"{place}: cannot set records aside ({error.strerror})") from error
    run.push(f"replaced/{number}")  # on a store as well, before the records there go
    kept = run.shown(f"replaced/{number}")
    log.info("the records of before are in %s until new ones are made", kept)


def let_go(run: Run, items: Collection[str]) -> None:
    """Remove what was set aside if all items have records, and none failed that was good before."""
    if not (places := _folders(run)):
        return
    held = parquet.held_items(run.records_dir).values()
    if not {name for part in held for name in part.items}.issuperset(items):
        return
    failed = {name for part in held for name in part.failed}
    for place in places:
        before = parquet.held_items(place / "records").values()
        good = {name for part in before for name in part.items - part.failed}
        if lost := sorted(good & failed):
            log.warning(
                "%d items failed now that had records, such as %s; those of before are kept in %s",
                len(lost), lost[0], run.shown(f"replaced/{place.name}"),
            )  # fmt: skip
        else:
            atomic.remove_folder(place)
    run.push("replaced")


def _folders(run: Run) -> list[Path]:
    return sorted(p for p in (run.path / "replaced").glob("*") if p.name.isdecimal())
