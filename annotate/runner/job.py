"""The whole job of `python -m annotate`, from typed settings to a finished run folder."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from annotate.config.settings import AnnotateCommand, deciding
from annotate.data.types import ClassList
from annotate.discover import listing
from annotate.discover.class_list import load_prompts
from annotate.discover.dataset import Dataset
from annotate.discover.fingerprints import Fingerprint
from annotate.errors import AnnotateError, ConfigError
from annotate.ground.base import Grounder
from annotate.record import lock, replaced, resume, versions
from annotate.record.asked import ChangedError
from annotate.record.counts import Counts, count_records
from annotate.record.run_folder import Run
from annotate.record.soundness import sound
from annotate.runner import gates, interrupt, log_file, summary
from annotate.runner.exports import (
    Exporter,
    export_run,
    make_exporters,
    say_what_no_record_holds,
)
from annotate.runner.units import Shard, Step, Unit, cut, share, to_do
from annotate.segment.base import NO_MEMORY, Segmenter
from annotate.store.remote import allow, is_url
from annotate.store.working_copy import WorkingCopy
from annotate.synthetic.demo import ensure_demo

log = logging.getLogger(__name__)

CONTACT_TILES = 16


class Executor(Protocol):
    """Whoever does units: this process, or a cluster."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Which weights it works with, by role."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """What each stage has taken so far."""

    @property
    def scaled(self) -> Mapping[str, int]:
        """How many pictures of more than 8 bits it has met so far, by how they were scaled."""

    def run(
        self,
        units: Sequence[Unit],
        run: Run,
        seen: Mapping[str, Fingerprint],
        on_step: Callable[[Step], None],
    ) -> None:
        """Do all units; `seen` are the fingerprints of their items."""


def annotate_dataset(settings: AnnotateCommand) -> summary.Summary:
    """Annotate what has no record yet, export, and sum up; raises AnnotateError when it cannot.

    Whatever can be wrong with the asking is found before the first frame is read.
    """
    allow(settings.store.protocols)
    exporters = make_exporters(settings)
    settings.grounder.make(Grounder)
    segmenter = settings.segmenter.make(Segmenter)
    for target in (settings.grounder, settings.segmenter):
        for value in target.arguments.values():
            is_url(value)  # raises for those that are not opened, before there is a run folder
    shard = Shard.parse(settings.shard) if settings.shard else None
    if settings.dataset.kind == "demo":
        ensure_demo(Path(settings.dataset.path))
    classes = load_prompts(settings.prompts)
    say_what_no_record_holds(settings.ground.floor, settings.threshold, classes)
    found = _found(settings)
    gates.check(settings.gates, classes, [item.name for item in found.items])
    if not segmenter.has_memory and any(item.media == "video" for item in found.items):
        raise ConfigError(f"segment: {NO_MEMORY}")
    load = cache(lambda: _executor(settings, classes))
    for folder in _run_folders(settings):
        try:
            with _started(folder, found, classes, settings, shard, load) as run:
                return _Job(settings, found, shard, exporters, run).finish(load)
        except ChangedError as error:
            if settings.on_change != "new":
                raise
            log.info("%s", error)
    raise AssertionError("there is always another folder")


@contextmanager
def _started(
    place: Path | str,
    found: Dataset,
    classes: ClassList,
    settings: AnnotateCommand,
    shard: Shard | None,
    load: Callable[[], Executor],
) -> Iterator[Run]:
    """The run in a folder, held against other writers, and clean of what dead ones left.

    Of one on a store, a copy on this machine is worked on. Records of before go nowhere until all
    that makes new ones is loaded.
    """
    working_copy = None if isinstance(place, Path) else WorkingCopy(place, _label(shard))
    folder = place if isinstance(place, Path) else WorkingCopy(place, _label(shard)).path

    def start() -> Run:
        taken = None
        if working_copy is not None:
            taken = held.enter_context(working_copy.held())
            taken.pull()
        begin = partial(
            Run.start, folder, found.root, classes, _asked(settings), working_copy=taken
        )
        try:
            resume.refuse_another_dataset(folder, found)
            return begin()
        except ChangedError:
            if not _may_redo(settings):
                raise
            _ = load().provenance
            replaced.set_aside(replace(Run.open(folder), working_copy=taken))
            return begin()

    with ExitStack() as held:
        if shard is None:
            held.enter_context(lock.one_writer(folder))
            run = start()
            run.clean()
        else:
            held.enter_context(lock.one_writer_of_shard(folder, shard.label))
            with lock.among_shards(folder):
                run = start()
        log_file.write_to(run.path / f"{_labelled('run', shard)}.log")
        yield run


class _Job:
    """One run of the command on a run folder; `finish` is its page to read."""

    def __init__(
        self,
        settings: AnnotateCommand,
        found: Dataset,
        shard: Shard | None,
        exporters: Mapping[str, Exporter],
        run: Run,
    ) -> None:
        self._settings = settings
        self._shard = shard
        self._exporters = exporters
        self._run = run
        self._units = share(cut(found.items, settings.runner.part_items), shard)
        self._items = tuple(item for unit in self._units for item in unit.items)
        self._found = found
        self._all = found.items
        self._state = self._look()
        self._tally = Step()  # of what was done now
        self._seconds: Counter[str] = Counter()
        self._scaled: Counter[str] = Counter()  # pictures of more than 8 bits, done now
        self._summary_path = run.path / f"{_labelled('summary', shard)}.json"

    def finish(self, load: Callable[[], Executor]) -> summary.Summary:
        """Do what is left to do, then export, draw, count and judge."""
        if self._shard is None and self._state.drop_second():
            self._state = self._look()
        if self._shard is None:
            left = to_do(self._units, self._state.todo)
            self._run.keep_unfinished(unit.part for unit in left)
        log.info("%d items, %d to do", len(self._items), len(self._state.todo))
        for note in self._notes():
            log.info("%s", note)
        try:
            with interrupt.last_words(lambda: self._broken_off("interrupted", 130)):
                if self._state.todo:
                    self._annotate(load)
                if self._shard is None:
                    if len(self._state.todo) < len(self._items):  # what was there may be edited
                        self._run = sound(self._run)
                    replaced.let_go(self._run, [item.name for item in self._all])
                self._summary_path.unlink(missing_ok=True)
                self._run.push(self._summary_path.name)
                exports = [] if self._shard else self._export()
                result = self._judged(exports)
                result.write(self._summary_path)
                self._run.push()
                return result
        except KeyboardInterrupt:
            self._broken_off("interrupted", 130)
            raise
        except ChangedError:
            raise
        except AnnotateError as error:
            self._broken_off("stopped", 2, str(error))
            raise

    def _notes(self) -> list[str]:
        """What was found beside the items, or is likely to be a slip, a line each."""
        is_demo = self._settings.dataset.kind == "demo"
        notes = [str(self._found.left_out), "" if is_demo else self._found.hint]
        return [note for note in notes if note]

    def _look(self) -> resume.ResumeState:
        return resume.resume_state(
            self._run, self._items, self._all, retry_failed=self._settings.retry_failed
        )

    def _annotate(self, load: Callable[[], Executor]) -> None:
        """Load the models and work through the units."""
        with self._timed("load"):
            executor = load()
        made_with = partial(self._run.made_with, executor.provenance, versions.libraries())
        try:
            made_with()
        except ChangedError:
            if not _may_redo(self._settings):
                raise
            replaced.set_aside(self._run)
            made_with()
            self._state = self._look()
        self._summary_path.unlink(missing_ok=True)  # until the end, there is none
        units = to_do(self._units, self._state.todo)
        with nullcontext() if self._shard is None else lock.among_shards(self._run.path):
            self._state.drop_outdated()
        self._run.push()  # above all, that what is outdated is gone
        bar = tqdm(total=len(self._state.todo), unit="item", mininterval=1.0, dynamic_ncols=True)

        def on_step(step: Step) -> None:
            self._tally += step
            bar.set_postfix(
                {"frames": self._tally.frames, "failed": self._tally.failed}, refresh=False
            )
            bar.update(step.items)

        with bar, self._timed("annotate"):
            executor.run(units, self._run, self._state.seen, on_step)
        if self._shard is None:
            self._run.clean()  # of workers that died, which Ray replaced
        if self._run.working_copy is not None:  # other machines may have made parts
            self._run.working_copy.pull("records", "stamps")
        self._seconds.update(executor.seconds)
        self._scaled.update(executor.scaled)

    def _export(self) -> Sequence[Mapping[str, Any]]:
        with self._timed("export"):
            exports = export_run(self._run, self._exporters, self._settings)
            self._draw()
        return exports

    def _draw(self) -> None:
        """Pictures for people: `contact_sheet.png`, and `media/` on request."""
        if not (self._settings.contact_sheet or self._settings.render):
            return
        from annotate.report import contact_sheet, render

        run, threshold = self._run, self._settings.threshold
        if self._settings.contact_sheet:
            path = run.path / "contact_sheet.png"
            contact_sheet.write_contact_sheet(run, path, threshold=threshold, tiles=CONTACT_TILES)
        if self._settings.render:
            render.render_run(run, threshold=threshold)

    def _judged(self, exports: Sequence[Mapping[str, Any]]) -> summary.Summary:
        """A shard is judged by its own items; scores need the whole run."""
        threshold = self._settings.threshold
        counts = count_records(self._run, threshold, {item.name for item in self._items})
        judged = list(
            gates.counted(
                self._settings.gates,
                failed=counts.failed,
                annotated=counts.annotated,
                frames=counts.frames,
            )
        )
        if self._shard is None:
            judged += gates.scored(self._settings.gates, self._run, threshold)
        passed = all(gate.passed for gate in judged)
        return self._summary(
            status="done" if passed else "gate_failed",
            exit_code=0 if passed else 3,
            new=len(self._state.todo),
            counts=counts,
            gates=judged,
            exports=exports,
        )

    def _broken_off(self, status: str, exit_code: int, error: str = "") -> None:
        """Leave a summary that says so; it must not take long, nor hide what went wrong."""
        result = self._summary(status, exit_code, self._tally.items, counts=None, error=error)
        try:
            result.write(self._summary_path)
            self._run.push(self._summary_path.name, f"{_labelled('run', self._shard)}.log")
        except AnnotateError as refusal:
            log.warning("%s", refusal)

    def _summary(
        self,
        status: str,
        exit_code: int,
        new: int,
        *,
        counts: Counts | None,
        gates: Sequence[gates.Gate] = (),
        exports: Sequence[Mapping[str, Any]] = (),
        error: str = "",
    ) -> summary.Summary:
        state = self._state
        return summary.Summary(
            status=status,
            exit_code=exit_code,
            run=self._run.shown(),
            version=versions.program(),
            models=self._run.weights(),
            libraries=self._run.libraries(),
            items={
                "found": len(self._items),
                "new": new,
                "before": len(self._items) - len(state.todo),
            },
            changes=state.changes(),
            left_out=self._found.left_out.kinds,
            scaled=dict(self._scaled),
            notes=self._notes(),
            counts=counts,
            seconds={k: round(v, 3) for k, v in self._seconds.items()},
            gates=gates,
            exports=exports,
            error=error,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


def _found(settings: AnnotateCommand) -> Dataset:
    found = listing.discover(settings.dataset.path, kind=_kind(settings))
    items = (replace(item, depth=settings.decode.depth) for item in found.items)
    return replace(found, items=tuple(items))


def _may_redo(settings: AnnotateCommand) -> bool:
    """Whether records may be made anew in place; ConfigError where a shard would have to."""
    redo = settings.on_change == "redo"
    if redo and settings.shard:
        raise ConfigError(
            f"on_change=redo with shard={settings.shard}: records of all shards would go; say "
            "on_change=new, or begin it once without shard=, and go on with shards"
        )
    return redo


def _executor(settings: AnnotateCommand, classes: ClassList) -> Executor:
    """Imported here: a wrong command, a finished run or an export need not wait for torch."""
    if settings.executor == "ray":
        from annotate.runner.ray_executor import Cluster

        return Cluster(settings, classes)
    from annotate.runner.build import build_worker

    return build_worker(settings, classes)


def _label(shard: Shard | None) -> str:
    return shard.label if shard else ""


def _labelled(name: str, shard: Shard | None) -> str:
    """Shards of one run folder keep their files apart."""
    return f"{name}-{shard.label}" if shard else name


def _kind(settings: AnnotateCommand) -> str:
    return "auto" if settings.dataset.kind == "demo" else settings.dataset.kind


def _run_folders(settings: AnnotateCommand) -> Iterator[Path | str]:
    """The run folder, then those beside it that `on_change=new` takes: DIR-2, DIR-3, ..."""
    first = _run_folder(settings)
    yield first
    for number in count(2):
        if isinstance(first, Path):
            yield first.with_name(f"{first.name}-{number}")
        else:
            yield f"{first}-{number}"


def _run_folder(settings: AnnotateCommand) -> Path | str:
    """A path, or the url of one on a store."""
    if settings.out:
        on_store = is_url(settings.out)
        return settings.out.rstrip("/") if on_store else listing.expand(settings.out)
    if settings.dataset.kind == "fiftyone":  # a dataset, or dataset/view
        name = re.sub(r"[^\w.-]+", "-", settings.dataset.path).strip(".-")
        return Path("runs") / (settings.dataset.name or name or "dataset")
    path = Path(settings.dataset.path)
    if not is_url(settings.dataset.path):
        path = listing.expand(settings.dataset.path)
    fixed = next((p for p in (path, *path.parents) if not set(p.name) & set("*?[")), path)
    name = fixed.resolve().name if fixed.is_dir() else fixed.stem
    return Path("runs") / (settings.dataset.name or name or "dataset")


def _asked(settings: AnnotateCommand) -> dict[str, Any]:
    """What decides the records: where it runs and how it is batched do not."""
    return {
        "version": versions.program(),
        "kind": _kind(settings),
        "ground": settings.grounder.deciding() | deciding(settings.ground),
        "segment": settings.segmenter.deciding() | deciding(settings.segment),
        "track": deciding(settings.track),
        "decode": deciding(settings.decode),
        "video": deciding(settings.video),
    }
