"""The whole job of `python -m annotate`, from typed settings to a finished run folder."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from annotate.config.settings import AnnotateCommand
from annotate.discover.fingerprints import Fingerprint
from annotate.errors import AnnotateError, one_line
from annotate.ground.base import Grounder
from annotate.record import lock, replaced, resume, versions
from annotate.record.asked import ChangedError
from annotate.record.counts import count_records
from annotate.record.run_folder import Run
from annotate.record.run_summary import Counts, Gate
from annotate.record.soundness import sound
from annotate.runner import gates, interrupt, log_file, peak_memory, summary
from annotate.runner.advice import advice
from annotate.runner.exports import export_run
from annotate.runner.plan import Plan, plan
from annotate.runner.progress import Progress
from annotate.runner.terminal import complain
from annotate.runner.units import Shard, Step, Unit, to_do
from annotate.segment.base import Segmenter
from annotate.store.working_copy import WorkingCopy
from annotate.verify.base import Verifier

log = logging.getLogger(__name__)

CONTACT_SHEET = "contact_sheet.png"
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
    return carry_out(plan(settings))


def carry_out(
    asked: Plan, load_models: Callable[[Plan], Executor] | None = None
) -> summary.Summary:
    """The job itself; see `annotate_dataset`. `load_models` stands in where some are loaded."""
    load = cache(lambda: (load_models or _executor)(asked))
    for folder in asked.run_folders():
        if isinstance(folder, Path) and not (folder / "config.yaml").is_file():
            _models_at_hand(asked.settings)  # before there is a folder
        try:
            with _started(folder, asked, load) as run:
                return _Job(asked, run).finish(load)
        except ChangedError as error:
            if asked.settings.on_change != "new":
                raise
            log.info("%s", error)
    raise AssertionError("there is always another folder")


@contextmanager
def _started(
    place: Path | str,
    asked: Plan,
    load: Callable[[], Executor],
) -> Iterator[Run]:
    """The run in a folder, held against other writers, and clean of what dead ones left.

    Of one on a store, a copy on this machine is worked on. Records of before go nowhere until all
    that makes new ones is loaded.
    """
    found, shard = asked.found, asked.shard
    working_copy = None if isinstance(place, Path) else WorkingCopy(place, _label(shard))
    folder = place if isinstance(place, Path) else WorkingCopy(place, _label(shard)).path

    def start() -> Run:
        taken = None
        if working_copy is not None:
            taken = held.enter_context(working_copy.held())
            taken.pull()
        begin = partial(
            Run.start, folder, found.root, asked.classes, asked.asked, working_copy=taken
        )
        try:
            resume.refuse_another_dataset(folder, found)
            return begin()
        except ChangedError:
            if not asked.may_redo:
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
        log.info("%s", log_file.command())
        yield run


class _Job:
    """One run of the command on a run folder; `finish` is its page to read."""

    def __init__(
        self,
        asked: Plan,
        run: Run,
    ) -> None:
        self._plan, self._settings, self._shard = asked, asked.settings, asked.shard
        self._run = run
        self._units = asked.units
        self._items = tuple(item for unit in self._units for item in unit.items)
        self._all = asked.found.items
        self._state = self._look()
        self._progress: Progress | None = None
        self._look_at = ""
        self._seconds: Counter[str] = Counter()
        self._scaled: Counter[str] = Counter()  # pictures of more than 8 bits, done now
        self._summary_path = run.path / f"{_labelled('summary', asked.shard)}.json"

    def finish(self, load: Callable[[], Executor]) -> summary.Summary:
        """Do what is left to do, then export, draw, count and judge."""
        if self._shard is None and self._state.drop_second():
            self._state = self._look()
        if self._shard is None:
            left = to_do(self._units, self._state.todo)
            self._run.keep_unfinished(unit.part for unit in left)
        log.info("%d items, %d to do", len(self._items), len(self._state.todo))
        for note in self._plan.notes:
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
        except Exception as bug:
            log.exception("a bug of this program")
            self._broken_off("stopped", 1, one_line(bug))
            raise

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
            if not self._plan.may_redo:
                raise
            replaced.set_aside(self._run)
            made_with()
            self._state = self._look()
        self._summary_path.unlink(missing_ok=True)  # until the end, there is none
        units = to_do(self._units, self._state.todo)
        with nullcontext() if self._shard is None else lock.among_shards(self._run.path):
            self._state.drop_outdated()
        self._run.push()  # above all, that what is outdated is gone
        todo = [item for unit in units for item in unit.items]
        with Progress(
            todo,
            stride=self._settings.video.stride,
            every_s=self._settings.runner.progress_s,
        ) as progress:
            self._progress = progress
            with self._timed("annotate"):
                executor.run(units, self._run, self._state.seen, progress.add)
        if self._shard is None:
            self._run.clean()  # of workers that died, which Ray replaced
        if self._run.working_copy is not None:  # other machines may have made parts
            self._run.working_copy.pull("records", "stamps")
        self._seconds.update(executor.seconds)
        self._scaled.update(executor.scaled)

    @property
    def _done(self) -> Step:
        """What was done now."""
        return self._progress.tally if self._progress else Step()

    def _export(self) -> Sequence[Mapping[str, Any]]:
        if to_write := [*self._plan.exporters, *self._pictures()]:
            complain(f"writing {', '.join(to_write)}")
        with self._timed("export"):
            exports = export_run(self._run, self._plan.exporters, self._settings)
            self._draw()
        return exports

    def _pictures(self) -> Iterator[str]:
        """What `_draw` will draw."""
        if self._settings.contact_sheet:
            yield CONTACT_SHEET
        if self._settings.render:
            yield "media"

    def _draw(self) -> None:
        """Pictures for people: `contact_sheet.png`, and `media/` on request."""
        if not (self._settings.contact_sheet or self._settings.render):
            return
        from annotate.report import contact_sheet, render

        run, threshold = self._run, self._settings.threshold
        if self._settings.contact_sheet:
            path = run.path / CONTACT_SHEET
            sheet = contact_sheet.write_contact_sheet(
                run, path, threshold=threshold, tiles=CONTACT_TILES
            )
            self._look_at = CONTACT_SHEET if sheet.tiles else ""
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
        log.info("%s", f"{status}: {error}" if error else status)
        result = self._summary(status, exit_code, self._done.items, counts=None, error=error)
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
        gates: Sequence[Gate] = (),
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
                "frames": self._done.frames,
            },
            changes=state.changes(),
            left_out=self._plan.found.left_out.kinds,
            scaled=dict(self._scaled),
            notes=self._plan.notes,
            counts=counts,
            seconds={k: round(v, 3) for k, v in self._seconds.items()},
            peak_memory_mb=peak_memory.megabytes(),
            look_at=self._run.shown(self._look_at) if self._look_at else "",
            advice=advice(counts, self._run.classes, self._settings, self._run.shown())
            if counts and not self._shard
            else (),
            gates=gates,
            exports=exports,
            error=error,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


def _models_at_hand(settings: AnnotateCommand) -> None:
    """Fetch what the models lack. Raises WeightsError, ConfigError for what cannot be fetched."""
    from annotate.models import hub  # which takes a while to import

    grounder, segmenter = settings.grounder.make(Grounder), settings.segmenter.make(Segmenter)
    grounder.check()
    for model in (*grounder.parts, segmenter, settings.verifier.make(Verifier)):
        source: hub.Source | None = getattr(model, "source", None)
        if source is not None:
            hub.fetch(source, tell=complain)


def _executor(asked: Plan) -> Executor:
    """Imported here: a wrong command, a finished run or an export need not wait for torch."""
    settings = asked.settings
    complain(f"loading {settings.grounder.shown}, {settings.segmenter.shown}")
    if settings.executor == "ray":
        from annotate.runner.ray_executor import Cluster

        return Cluster(settings, asked.classes)
    from annotate.runner.build import build_worker

    return build_worker(settings, asked.classes)


def _label(shard: Shard | None) -> str:
    return shard.label if shard else ""


def _labelled(name: str, shard: Shard | None) -> str:
    """Shards of one run folder keep their files apart."""
    return f"{name}-{shard.label}" if shard else name
