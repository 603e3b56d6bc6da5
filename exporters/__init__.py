"""Exports of a run: records in, a folder per format out. No model is needed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from annotate.data.selection import Tally
from annotate.errors import ConfigError, StorageError
from annotate.record.run_folder import Run
from annotate.store import atomic
from exporters import coco, yolo_seg
from exporters.options import ExportOptions, ExportSummary

__all__ = ["EXPORTERS", "ExportOptions", "ExportSummary", "check_formats", "export"]

Exporter = Callable[[Run, ExportOptions, Path], Tally]  # writes into an empty folder
EXPORTERS: dict[str, Exporter] = {"coco": coco.write, "yolo_seg": yolo_seg.write}
LOGGER = logging.getLogger(__name__)


def export(run: Run, formats: Sequence[str], options: ExportOptions) -> list[ExportSummary]:
    """Write `exports/<format>/` of a run for each format, in place of an earlier one.

    Raises ConfigError for a format nobody knows, StorageError when the disk refuses or when not
    one picture of the dataset is left; an earlier export then stays as it was.
    """
    check_formats(formats)
    return [_export(run, name, options) for name in dict.fromkeys(formats)]


def check_formats(formats: Sequence[str]) -> None:
    """Raise ConfigError for a format nobody knows."""
    for name in formats:
        if name not in EXPORTERS:
            raise ConfigError(f"export={name}: no such format; known are {', '.join(EXPORTERS)}")


def _export(run: Run, name: str, options: ExportOptions) -> ExportSummary:
    folder = run.path / "exports" / name
    with _replacing(folder) as unfinished:
        tally = EXPORTERS[name](run, options, unfinished)
        if not tally.images and tally.left_out["missing"]:
            raise StorageError(
                f"{run.root}: none of the run's {tally.left_out['missing']} pictures is there any "
                "more; bring the dataset back, or export with export.media=none"
            )
    for reason in ("missing", "changed", "unreadable"):
        if count := tally.left_out[reason]:
            LOGGER.warning("%s: left out %d pictures whose files are %s", name, count, reason)
    names = run.classes.names
    return ExportSummary(
        format=name,
        path=folder if run.working_copy is None else run.shown(f"exports/{name}"),
        images=tally.images.total(),
        instances=tally.instances.total(),
        per_class={n: tally.instances[i] for i, n in enumerate(names)},
        per_split={s: tally.images[s] for s in options.split},
        left_out=dict(sorted(tally.left_out.items())),
    )


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when all went well, and goes otherwise."""
    atomic.clean(folder.parent, [folder.name])  # of an export that was killed
    written = atomic.unfinished(folder)
    try:
        written.mkdir(parents=True)
        yield written
        atomic.publish_folder(written, folder)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot write the export ({error.strerror or error})"
        ) from error
    finally:
        shutil.rmtree(written, ignore_errors=True)
