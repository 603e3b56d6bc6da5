"""The contract of a format: a class that writes the pictures of a run into a folder.

    class Boxes(Exporter):
        def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
            with (folder / "boxes.txt").open("w", encoding="utf-8", newline="\\n") as file:
                for picture in pictures:
                    for instance in picture.instances:
                        print(picture.name, *instance.box_xyxy, file=file)
            return {}

A config names the class. What else an export has to do (choose, split and stage the pictures, count
them, take the place of an earlier export) is the same for every format, and is done here.
"""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from annotate.config.settings import ExportSettings
from annotate.errors import ConfigError, StorageError
from annotate.store import atomic
from exporters import earlier
from exporters.card import card
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

if TYPE_CHECKING:
    from annotate.record.run_folder import Run
    from exporters.check import Check

__all__ = ["ExportSummary", "Exporter", "Layout", "Picture", "Pictures"]

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What one export holds and what it left out."""

    format: str
    path: Path | str  # its folder, or the url of one on a store
    images: int
    instances: int
    per_class: dict[str, int]  # instances by class name
    per_split: dict[str, int]  # images by split; empty without a split
    left_out: dict[str, int]  # images and instances by reason
    not_held: dict[str, int]  # what the format has no place for, by reason


class Exporter(ABC):
    """One format, with its options.

    The parameters of `__init__` are the options, keyword-only, their types and ranges annotated:
    `tolerance: Annotated[float, within(0)]`. The defaults are in the config that names the class.
    """

    layout: ClassVar[Layout] = Layout()
    loading: ClassVar[str] = ""  # lines of Python that load an export, for its card
    layered: ClassVar[bool] = False  # a pixel is of one object, see `exporters.layers`
    tracked: ClassVar[bool] = False  # ids of tracks have a place in it
    once_a_track: ClassVar[bool] = False  # a track is in a frame once, see `exporters.by_track`
    promised_iou: ClassVar[float] = 0.0  # that it keeps of every mask, or box, whatever it is

    def front_matter(self, pictures: Pictures) -> Mapping[str, Any]:
        """What the card begins with, for hubs of datasets; nothing."""
        return {}

    @abstractmethod
    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write the export into an empty folder, and say what the format could not hold.

        What it has no place for is counted by reason, {} if there is nothing. Pictures are staged
        in `pictures.images_dir` while they are iterated over, so each has to be taken, once.
        An OSError means that the disk refuses; whatever is raised, an earlier export stays.
        """

    def export(
        self, run: Run, name: str, *, threshold: float, only: str, settings: ExportSettings
    ) -> ExportSummary:
        """Write `exports/<name>/` of a run in place of an earlier one.

        Instances with a score of `threshold` (0..1) or more are exported, unless their class has
        its own; `only` is all | reviewed | accepted. Raises StorageError when the disk refuses or
        when not one picture of the dataset is left, ConfigError when nobody decided what `only`
        asks for; an earlier export then stays as it was. What people changed in it is kept beside.
        """
        folder = run.path / "exports" / name
        with _replacing(folder, self.layout) as unfinished:
            with closing(
                Pictures(
                    run,
                    self.layout,
                    unfinished,
                    threshold=threshold,
                    only=only,
                    settings=settings,
                )
            ) as pictures:
                not_held = dict(sorted(self.write(pictures, unfinished).items()))
            tally = pictures.tally
            lost = tally.left_out["missing"] + tally.left_out["changed"]
            if not tally.images and lost:
                raise StorageError(
                    f"{run.root}: none of the run's {lost} pictures is there any "
                    "more as it was; bring the dataset back, or export with export.media=none"
                )
            if not tally.images and only != "all":
                raise ConfigError(
                    f"only={only}: nothing in {run.shown()} was {only} yet; decide it with "
                    f"`annotate review run={run.shown()}`, or export with only=all"
                )
            text = card(
                run,
                format_name=name,
                loading=self.loading,
                front_matter=self.front_matter(pictures),
                threshold=threshold,
                only=only,
                sets=pictures.splits or ("",),
                tally=tally,
                not_held=not_held,
            )
            if not (readme := unfinished / "README.md").exists():  # a format may have its own
                readme.write_text(text, encoding="utf-8", newline="\n")
        for reason in ("missing", "changed", "unreadable"):
            if count := tally.left_out[reason]:
                LOGGER.warning("%s: left out %d pictures whose files are %s", name, count, reason)
        if count := tally.left_out["in no folder of a set"]:
            LOGGER.warning("%s: left out %d pictures in no folder of a set", name, count)
        if tally.images and (none := [s for s in pictures.splits if not tally.images[s]]):
            LOGGER.warning("%s: no picture that is exported is in %s", name, " or ".join(none))
        return ExportSummary(
            format=name,
            path=folder if run.working_copy is None else run.shown(f"exports/{name}"),
            images=tally.images.total(),
            instances=tally.instances.total(),
            per_class={
                n: sum(tally.instances[s, i] for s in pictures.splits or ("",))
                for i, n in enumerate(run.classes.names)
            },
            per_split={s: tally.images[s] for s in pictures.splits},
            left_out=dict(sorted(tally.left_out.items())),
            not_held=not_held,
        )

    def check(self, run: Run, name: str, *, threshold: float, only: str) -> Check:
        """Read `exports/<name>/` back with a reader that nobody here wrote, and compare it."""
        from exporters.check import check  # whose readers take long to import

        return check(self, run, name, threshold=threshold, only=only)


@contextmanager
def _replacing(folder: Path, layout: Layout) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when all went well, and goes otherwise.

    An earlier one in which people changed something is kept beside it.
    """
    atomic.restore(folder)  # of an export that was killed
    atomic.clean(folder.parent, [folder.name, f".{folder.name}"])
    written = atomic.unfinished(folder)
    try:
        written.mkdir(parents=True)
        yield written
        keep = None
        if changed := earlier.changes(folder):
            keep = earlier.place_beside(folder)
            LOGGER.warning(
                "%s: %d files of the earlier export are not as they were written, such as %s; "
                "it is kept as %s", folder, len(changed), changed[0], keep.name,
            )  # fmt: skip
        earlier.note_next(written, folder, layout.is_picture)
        atomic.publish_folder(written, folder, keep)
        earlier.note_placed(folder)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot write the export ({error.strerror or error})"
        ) from error
    finally:
        shutil.rmtree(written, ignore_errors=True)
