"""A run folder: what was asked, the records, and what everything after annotation reads."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from annotate.config.schema import checked
from annotate.config.settings import DecodeSettings
from annotate.data import decisions, plain_yaml
from annotate.data.decisions import Decision, Decisions
from annotate.data.item_paths import refusal, shown
from annotate.data.types import ClassList, Depth, FrameRecord, Item, Media, Remote
from annotate.discover.class_list import class_list_from_yaml, class_list_to_yaml
from annotate.errors import ConfigError, FolderInUseError, StorageError
from annotate.record import parquet, reviews
from annotate.record.asked import NOT_ASKED_AT_FIRST, ChangedError, deciding, difference
from annotate.record.lock import one_writer
from annotate.record.run_summary import RunSummary
from annotate.store import atomic
from annotate.store.remote import is_url
from annotate.store.working_copy import WorkingCopy

if TYPE_CHECKING:
    import pyarrow.dataset as pads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `path` is its folder, `root` the dataset's, `classes` what was asked for."""

    path: Path
    root: Path | str  # a url of a dataset on a store
    classes: ClassList
    others: tuple[Path, ...] = ()  # run folders whose records belong to it as well
    working_copy: WorkingCopy | None = None  # where `path` is a copy of a run folder on a store
    # What is passed over when records are read:
    hidden: frozenset[str] = frozenset()  # items
    damaged: frozenset[str] = frozenset()  # frames
    depth: Depth = "auto"  # how its pictures of more than 8 bits were scaled

    @classmethod
    def open(cls, path: Path | str, *others: Path | str) -> Run:
        """Open a run folder written before, together with others that hold shares of the same run.

        Raises StorageError that names what is missing, ConfigError when the folders were not asked
        the same or hold records of the same item. Of a run folder on a store (a url), what is
        missing here is downloaded.
        """
        here, *more = (_brought_here(place) for place in (path, *others))
        if is_url(path) and not (here / "config.yaml").is_file():
            raise StorageError(f"{path}: no run folder that `python -m annotate` wrote")
        asked = _read_yaml(here / "config.yaml")
        classes = _read_yaml(here / "classes.yaml")
        run = cls(
            path=here,
            root=_root(asked, here / "config.yaml"),
            classes=class_list_from_yaml(classes, str(here / "classes.yaml")),
            others=tuple(more),
            working_copy=WorkingCopy(path) if is_url(path) else None,
            depth=_depth(asked, here / "config.yaml"),
        )
        run._check_others(asked, classes)
        return run

    @classmethod
    def start(
        cls,
        path: Path,
        root: Path | str,
        classes: ClassList,
        asked: Mapping[str, Any],
        *,
        working_copy: WorkingCopy | None = None,
    ) -> Run:
        """Begin a run in `path`, or continue the one there if it was asked the same.

        `asked` is what decides the records (program, models, rules). Where the folder holds records
        that were made otherwise, ChangedError shows the differences: two makings must not mix.
        """
        texts = {
            "config.yaml": yaml.safe_dump(
                {"dataset": {"root": str(root)}, **asked}, allow_unicode=True, sort_keys=False
            ),
            "classes.yaml": class_list_to_yaml(classes),
        }
        depth = _depth(asked, path / "config.yaml")
        run = cls(path, root, classes, working_copy=working_copy, depth=depth)
        before = {n: _read_yaml(path / n) for n in texts if (path / n).is_file()}
        now = {name: yaml.safe_load(texts[name]) for name in before}
        run._refuse(difference(deciding(before), deciding(now)))
        try:
            run.records_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot write there ({error.strerror})") from error
        for name, text in texts.items():
            if before.get(name) != now.get(name) or name not in before:
                atomic.write_text(path / name, text)
        return run

    def made_with(self, weights: Mapping[str, Any], libraries: Mapping[str, str]) -> None:
        """Note what makes the records; where other weights made them, ChangedError is raised.

        So it is where they were `computed` on another kind of device, or in another precision.
        Versions of libraries, by name, are noted beside those of before, with a warning: they
        change last digits, seldom more, and a run that would stop at every security update is of
        no use.
        """
        before, known = self.weights(), self.libraries()
        now = yaml.safe_load(yaml.safe_dump(dict(weights)))
        # Where it was computed was not always noted.
        compared = {k: v for k, v in now.items() if k in before or k != "computed"}
        self._refuse(difference(before, compared) if before else "")
        if not parquet.part_paths(self.records_dir):
            known = {}
        for name, version in libraries.items():
            if (others := known.get(name, [])) and version not in others:
                log.warning(
                    "%s %s now, records before were made with %s: they may differ in last digits",
                    name, version, ", ".join(others),
                )  # fmt: skip
        known = {
            name: [*(v for v in known.get(name, []) if v != version), version]
            for name, version in libraries.items()
        }
        if before != now or known != self.libraries():
            text = yaml.safe_dump({**now, "libraries": known}, sort_keys=False)
            atomic.write_text(self.path / "weights.yaml", text)

    def asked(self) -> dict[str, Any]:
        """What decided the records: program, models, rules."""
        return _read_yaml(self.path / "config.yaml")

    def weights(self) -> dict[str, Any]:
        """Which weights made the records, by role; empty before any were loaded."""
        return {k: v for k, v in self._made_with().items() if k != "libraries"}

    def libraries(self) -> dict[str, list[str]]:
        """The versions of each library that made the records, the last one last."""
        return dict(self._made_with().get("libraries") or {})

    def _made_with(self) -> dict[str, Any]:
        path = self.path / "weights.yaml"
        return _read_yaml(path) if path.is_file() else {}

    def _refuse(self, difference: str) -> None:
        """ChangedError where there are records that were made otherwise.

        What a video has come to so far counts as well: it would go on from there.
        """
        if not difference:
            return
        parts = parquet.part_paths(self.records_dir)
        if not parts and not any(self.unfinished_dir.glob("*/state-*")):
            return
        count = self.table().count_rows() if parts else 0
        raise ChangedError(
            f"{self.shown()} holds {count:,} records that were made otherwise ({difference}); "
            "on_change=new keeps them and begins a folder beside it, out=DIR another one; "
            f"on_change=redo makes all anew in place, and removes these {count:,} when that is done"
        )

    def _check_others(self, asked: Any, classes: Any) -> None:
        held = parquet.held_items(self.records_dir) if self.others else {}
        known = {item: self.path for part in held.values() for item in part.items}
        for other in self.others:
            theirs = {n: _read_yaml(other / n) for n in ("config.yaml", "classes.yaml")}
            ours = {"config.yaml": asked, "classes.yaml": classes}
            if found := difference(deciding(ours), deciding(theirs)):
                raise ConfigError(f"{other} is no part of the run in {self.path} ({found})")
            for part in parquet.held_items(other / "records").values():
                if twice := sorted(part.items & known.keys()):
                    raise ConfigError(
                        f"{twice[0]!r} is in {known[twice[0]]} and in {other}: read together, "
                        "run folders must hold different items, such as shards do"
                    )
                known.update(dict.fromkeys(part.items, other))

    @property
    def records_dir(self) -> Path:
        return self.path / "records"

    @property
    def stamps_dir(self) -> Path:
        """What the files of the dataset looked like when they were annotated."""
        return self.path / "stamps"

    @property
    def reviews_dir(self) -> Path:
        """What people decided; only ever added to."""
        return self.path / "reviews"

    @property
    def unfinished_dir(self) -> Path:
        """Working files of videos, a folder for each, from which an interrupted one goes on."""
        return self.path / "unfinished"

    def clean(self) -> None:
        """Remove what a process that was killed has left; to be asked for under the lock."""
        media = self.path / "media"
        folders = (self.path, self.records_dir, self.stamps_dir, self.reviews_dir, media)
        answers = self.path / "answers"  # of services, which a grounder keeps
        for folder in (*folders, *media.rglob("*/"), *answers.glob("*/")):
            atomic.clean(folder)

    def keep_unfinished(self, parts: Iterable[str]) -> None:
        """Remove working files of videos except those of the parts that are still to be made."""
        kept = set(parts)
        for folder in self.unfinished_dir.glob("*"):
            if folder.name not in kept:
                atomic.remove_folder(folder)
        with suppress(OSError):  # it is in use, or there is none
            self.unfinished_dir.rmdir()

    def source(self, item: str, media: Media) -> Item:
        """An item of the dataset, to be read (`download.at_hand`).

        Raises StorageError for a name that no item below the root can have.
        """
        if reason := refusal(item):
            raise StorageError(
                f"{self.path}: the record of {shown(item)} is of no file of the dataset: {reason}"
            )
        if isinstance(self.root, str):
            return Item(item, Path(item), media, Remote(self.root, None), self.depth)
        return Item(item, self.root / item, media, depth=self.depth)

    @contextmanager
    def held(self) -> Iterator[Run]:
        """Hold the run folder alone, on a store as well, and have all of it here.

        Raises StorageError when another process writes to it.
        """
        with ExitStack() as stack:
            stack.enter_context(one_writer(self.path))
            run = self
            if self.working_copy is not None:
                run = replace(self, working_copy=stack.enter_context(self.working_copy.held()))
                self.working_copy.pull()
            yield run

    def push(self, *places: str) -> None:
        """Have what is finished below `places` (everything, if none) on the store, if it is on one.

        Raises StorageError.
        """
        if self.working_copy is not None:
            self.working_copy.push(*places)

    def push_part(self, part: str) -> None:
        """Have a part on the store, its fingerprints before it, and no working files of it."""
        self.push(f"stamps/{part}.json", f"records/{part}.parquet", f"unfinished/{part}", "answers")

    def shown(self, place: str = "") -> str:
        """The run folder, or a place in it, as the user knows it."""
        if self.working_copy is not None:
            return "/".join(filter(None, (self.working_copy.url.rstrip("/"), place)))
        return str(self.path / place)

    def __repr__(self) -> str:
        more = "".join(f", {str(other)!r}" for other in self.others)
        return f"Run({self.shown()!r}{more}, {self.classes!r})"

    @property
    def summary(self) -> RunSummary:
        """What the command that made it, the last time it ran, said in `summary.json`.

        Of run folders read together, that of the first. Raises StorageError where there is none:
        the run is at work, or was cut short, or its shards were not summed up yet.
        """
        return RunSummary.read(self.path / "summary.json")

    @property
    def passed(self) -> bool:
        """Whether the run came to its end and kept every gate. Raises StorageError if damaged."""
        return (self.path / "summary.json").is_file() and self.summary.passed

    def frames(self) -> Iterator[FrameRecord]:
        """Every record ordered by item and frame index, streamed; masks decode on demand."""
        names = tuple(self.classes.names)
        records = parquet.read_records(*self.records_dirs, skip=self.damaged, names=names)
        return (r for r in records if r.item not in self.hidden) if self.hidden else records

    def some_frames(self, frame_ids: Collection[str]) -> list[FrameRecord]:
        """The records of some frames, in the same order; all of them in memory."""
        names = tuple(self.classes.names)
        wanted = set(frame_ids) - self.damaged
        found = parquet.read_frames(wanted, *self.records_dirs, names=names)
        return [record for record in found if record.item not in self.hidden]

    def decisions(self) -> Decisions:
        """What people decided about the records; `frames` gives these as they were made."""
        folded = decisions.fold(self.reviews())
        if frame_ids := decisions.about_tracks(folded):
            folded = decisions.checked(folded, self.some_frames(frame_ids), self.classes)
        return folded

    def reviews(self) -> Iterator[Decision]:
        """Every decision by itself, in the order they were made."""
        return reviews.read(self.reviews_dir, *(other / "reviews" for other in self.others))

    def items_with_pictures(self) -> list[tuple[str, Media]]:
        """Every item with at least one annotated picture, by name."""
        if not parquet.part_paths(self.records_dir):
            return []
        table = self.table().to_table(columns=["item", "media"], filter=pc.field("status") == "ok")
        rows = table.group_by(["item", "media"]).aggregate([]).to_pylist()
        return sorted((row["item"], row["media"]) for row in rows)

    def table(self) -> pads.Dataset:
        """The records as a pyarrow dataset."""
        table = parquet.dataset(*self.records_dirs)
        for column, names in (("item", self.hidden), ("frame_id", self.damaged)):
            if names:
                passed_over = pc.field(column).isin(pa.array(sorted(names), pa.string()))
                table = table.filter(~passed_over)
        return table

    @property
    def records_dirs(self) -> list[Path]:
        """Where its records are, its own folder first."""
        return [self.records_dir, *(other / "records" for other in self.others)]


def _brought_here(place: Path | str) -> Path:
    """A run folder on this machine; of one on a store, a copy as it is now."""
    if not is_url(place):
        return Path(place).expanduser()
    working_copy = WorkingCopy(place)
    try:
        with one_writer(working_copy.path):
            working_copy.pull()
    except FolderInUseError:  # by the one writer that there is, who has all of it here
        pass
    return working_copy.path


def _depth(asked: Mapping[str, Any], path: Path) -> Depth:
    """How deep values were scaled. Raises StorageError."""
    said = asked.get("decode")
    try:
        known = {**NOT_ASKED_AT_FIRST["decode"], **(said if isinstance(said, Mapping) else {})}
        return checked(DecodeSettings, known, "decode").depth
    except ConfigError as error:
        raise StorageError(f"{path}: damaged; {error}") from error


def _root(asked: Mapping[str, Any], path: Path) -> Path | str:
    dataset = asked.get("dataset")
    said = dataset.get("root") if isinstance(dataset, Mapping) else None
    if not isinstance(said, str) or not said or "\0" in said:
        raise StorageError(f"{path}: damaged; dataset.root is {said!r}")
    return said if is_url(said) else Path(said)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = plain_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"{path}: not found; run=DIR must name a folder that `python -m annotate` wrote"
        ) from error
    except ValueError as error:  # which a text that is no UTF-8 raises as well
        raise StorageError(f"{path}: damaged; {error}") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path}: damaged; it holds no keys")
    return content
