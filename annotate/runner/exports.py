"""The formats that a run is exported to: classes that the config names, made and asked to write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from annotate.config.settings import AnnotateCommand, ExportCommand, ExportSettings, Only
from annotate.data.types import ClassList
from annotate.errors import ConfigError

if TYPE_CHECKING:
    from annotate.record.run_folder import Run

log = logging.getLogger(__name__)


@runtime_checkable
class Exporter(Protocol):
    """What a format does; see `exporters.base`."""

    def export(
        self, run: Run, name: str, *, threshold: float, only: Only, settings: ExportSettings
    ) -> Any:
        """Write `exports/<name>/` of a run; a dataclass that says what it came to."""

    def check(self, run: Run, name: str, *, threshold: float, only: Only) -> Any:
        """What a reader of others finds in it: `passed`, and a line as its `str`."""


def make_exporters(command: AnnotateCommand | ExportCommand) -> dict[str, Exporter]:
    """The formats that are asked for, by name. Raises ConfigError for one that nobody knows."""
    made: dict[str, Exporter] = {}
    for name in command.export.formats:
        if name not in command.formats:
            known = ", ".join(command.formats)
            raise ConfigError(f"export={name}: no such format; known are {known}")
        made[name] = command.formats[name].make(Exporter, made_from="exporters.base.Exporter")
    return made


def say_what_no_record_holds(floor: float, threshold: float, classes: ClassList) -> None:
    """A line where a threshold asks for less than the records hold, which begin at `floor`."""
    asked = classes.thresholds(threshold)
    below = [name for name, least in zip(classes.names, asked, strict=True) if least < floor]
    if below:
        log.warning(
            "threshold=%g for %s: records begin at ground.floor=%g, nothing below it is exported; "
            "a run with a lower ground.floor would hold it",
            min(asked), f"{len(below)} classes" if len(below) > 1 else repr(below[0]), floor,
        )  # fmt: skip


def export_run(
    run: Run,
    exporters: Mapping[str, Exporter],
    command: AnnotateCommand | ExportCommand,
    suffix: str = "",
) -> list[dict[str, Any]]:
    """Write every format into `exports/<name><suffix>`; what each came to, for the summary.

    Raises StorageError or ConfigError.
    """
    summaries = []
    for name, exporter in exporters.items():
        summary = exporter.export(
            run,
            name + suffix,
            threshold=command.threshold,
            only=command.only,
            settings=command.export,
        )
        summaries.append(asdict(summary))
    return summaries


def check_exports(
    run: Run, exporters: Mapping[str, Exporter], command: ExportCommand, suffix: str = ""
) -> Iterator[tuple[str, bool]]:
    """Read every export back with a reader of others: a line on each, and whether all is there."""
    for name, exporter in exporters.items():
        found = exporter.check(run, name + suffix, threshold=command.threshold, only=command.only)
        yield str(found), found.passed
