"""Units of work done in this process: decode ahead, annotate in batches, write a part for each."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any, Self

from annotate.config.settings import RunnerSettings
from annotate.data.types import Frame, FrameRecord, Item
from annotate.decode.depth import Told
from annotate.decode.download import at_hand
from annotate.decode.read_ahead import check_name, decode_ahead, frames_ahead
from annotate.decode.video import open_video
from annotate.discover import fingerprints
from annotate.discover.fingerprints import Fingerprint
from annotate.errors import MediaError, one_line
from annotate.models.memory_limit import is_out_of_memory, over
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.record.unfinished_video import UnfinishedVideo
from annotate.runner.pipeline import Pipeline, failed_record
from annotate.runner.units import Step, Unit
from annotate.store import atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """How the work reaches the models; it changes no record."""

    batch: int  # images of one size per pass
    max_pixels: int  # of one picture; more is a failed item
    stride: int  # every n-th frame of a video
    runner: RunnerSettings


OnStep = Callable[[Step], None]


class Worker:
    """Does units with the models it holds; every executor has one or more."""

    def __init__(self, pipeline: Pipeline, feed: Feed, provenance: Mapping[str, Any]) -> None:
        """`provenance` says which weights the pipeline was built with, by role."""
        self._pipeline = pipeline
        self._feed = feed
        self.provenance = provenance
        self._told = Told()
        self._tally: Mapping[str, int] = {}  # of the grounder, as it was logged last

    @property
    def pipeline(self) -> Pipeline:
        """The models."""
        return self._pipeline

    @property
    def scaled(self) -> Counter[str]:
        """How many pictures of more than 8 bits there were so far, by how they were scaled."""
        return self._told.counts

    @property
    def seconds(self) -> Counter[str]:
        """What each stage has taken so far."""
        return self._pipeline.stages.seconds

    def run(
        self, units: Sequence[Unit], run: Run, seen: Mapping[str, Fingerprint], on_step: OnStep
    ) -> None:
        """Do all units, reading ahead from one to the next; `seen`: fingerprints of the items."""
        decoded = self._decoded([i for u in units if not u.is_video for i in u.items])
        for unit in units:
            self._do(unit, run, seen, on_step, decoded)

    def do(self, unit: Unit, run: Run, seen: Mapping[str, Fingerprint], on_step: OnStep) -> None:
        """Do one unit."""
        self._do(unit, run, seen, on_step, self._decoded(() if unit.is_video else unit.items))

    def _decoded(self, stills: Iterable[Item]) -> Iterator[tuple[Item, Frame | MediaError]]:
        feed = self._feed
        return decode_ahead(
            stills,
            workers=feed.runner.workers,
            ahead=feed.runner.ahead,
            max_pixels=feed.max_pixels,
            crowded=over(feed.runner.max_ram_gb),
            tell=self._told,
        )

    def _do(
        self,
        unit: Unit,
        run: Run,
        seen: Mapping[str, Fingerprint],
        on_step: OnStep,
        decoded: Iterator[tuple[Item, Frame | MediaError]],
    ) -> None:
        self._pipeline.grounder.keep_in(run.path)
        try:
            self._make(unit, run, seen, on_step, decoded)
        finally:
            self._log_tally()

    def _log_tally(self) -> None:
        """What the grounder counts, where it counts something."""
        tally = self._pipeline.grounder.tally
        if tally != self._tally:
            self._tally = dict(tally)
            log.info("so far: %s", ", ".join(f"{n:,} {what}" for what, n in tally.items()))

    def _make(
        self,
        unit: Unit,
        run: Run,
        seen: Mapping[str, Fingerprint],
        on_step: OnStep,
        decoded: Iterator[tuple[Item, Frame | MediaError]],
    ) -> None:
        """Fingerprints are written first: a part without them could not be seen to be outdated."""
        atomic.clean(run.records_dir, [unit.part])  # what a lost worker left of this unit
        fingerprints.write(run.stamps_dir, unit.part, fingerprints.noted(unit.items, seen))
        if unit.is_video:
            fingerprint = seen.get(unit.items[0].name)
            run_video(unit, self._pipeline, run, self._feed, fingerprint, on_step, self._told)
            run.push_part(unit.part)
            return
        batch = self._feed.batch
        stages = self._pipeline.stages
        own = stages.each("decode", islice(decoded, len(unit.items)))
        made = list(_annotated(own, self._pipeline, batch, on_step))
        with stages.of("write"):
            parquet.write_part(run.records_dir, unit.part, made)
        run.push_part(unit.part)


def run_video(
    unit: Unit,
    pipeline: Pipeline,
    run: Run,
    feed: Feed,
    fingerprint: Fingerprint,
    on_step: OnStep,
    told: Told,
) -> None:
    """Annotate one video into one part, holding a few of its frames at a time.

    It goes on where an earlier attempt was sealed last. A video that breaks off keeps the frames
    before; the break is a failed record after them.
    """
    (item,) = unit.items
    folder = run.unfinished_dir / unit.part
    with ExitStack() as held:
        unfinished = held.enter_context(
            UnfinishedVideo(folder, fingerprint, every=feed.runner.checkpoint_frames)
        )
        reading = held.enter_context(_Reading(item, feed, told))
        sealed = unfinished.resume(pipeline.state_classes, pipeline.device)
        if sealed is not None:
            reading.go_back(sealed)
            on_step(Step(before=reading.following // feed.stride))
        passing = pipeline.video(reading.frames(), after=sealed and sealed["pass"])
        following = reading.following  # index of the frame to be recorded next

        def keep(record: FrameRecord) -> None:
            nonlocal following
            with pipeline.stages.of("write"):
                unfinished.add(record)
            following = record.frame_index + feed.stride
            on_step(_step(record))

        def at_rest() -> None:
            if unfinished.due(passing.waiting):
                for record in passing.rest():
                    keep(record)
                unfinished.seal({**reading.state(), "pass": passing.state()})
                run.push(f"unfinished/{unit.part}")

        try:
            for record in passing.provisional(at_rest=at_rest):
                keep(record)
        except Exception as error:
            if not (reason := _reason(error)):
                raise
            reading.break_off(following, MediaError(reason))
        with parquet.PartWriter(run.records_dir, unit.part) as settled:
            made = passing.settled(unfinished.read())
            with pipeline.stages.of("write"):
                for record in merge(made, reading.damage, key=lambda r: r.frame_index):
                    settled.add(record)
    unfinished.remove()
    on_step(Step(items=1, failed=len(reading.damage)))


class _Reading:
    """The frames of a video; where they break off is noted, and a folder goes on behind it.

    A context: a video on a store is on this machine until it is left.
    """

    def __init__(self, item: Item, feed: Feed, told: Told) -> None:
        self._item = item
        self._told = told
        self._feed = feed
        self._held = ExitStack()
        self._crowded = over(feed.runner.max_ram_gb)
        self.following = 0  # index of the frame to be read next
        self.damage: list[FrameRecord] = []

    def state(self) -> dict[str, Any]:
        """Where it is; with the state of the pass, `go_back` finds the way."""
        return {"following": self.following, "damage": self.damage}

    def go_back(self, state: Mapping[str, Any]) -> None:
        """To the first frame that the pass still held, else to where it was."""
        self.following = min([*state["pass"]["held"], state["following"]])
        self.damage = [r for r in state["damage"] if r.frame_index < self.following]

    def break_off(self, index: int, error: MediaError) -> None:
        """The frame at `index`, which was read, and all after it are not to be had."""
        self.following = index
        self.damage = [r for r in self.damage if r.frame_index < index]
        self.note(error)

    def frames(self) -> Iterator[Frame]:
        stride = self._feed.stride
        try:
            check_name(self._item)
            here = self._held.enter_context(at_hand(self._item))
            tell = partial(self._told, self._item.name)
            video = open_video(here, max_pixels=self._feed.max_pixels, tell=tell)
        except (MediaError, OSError) as error:  # a folder may vanish between two looks
            self.note(error)
            return
        while True:
            try:
                source = video.frames(stride=stride, start=self.following)
                for frame in frames_ahead(source, self._feed.runner.ahead, crowded=self._crowded):
                    self.following = frame.index + stride
                    yield frame
                return
            except (MediaError, OSError) as error:
                self.note(error)
            if not here.path.is_dir():
                return
            self.following += stride

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def note(self, error: MediaError | OSError) -> None:
        """Record that the frame to be read next cannot be had."""
        log.warning("%s: %s", self._item.name, error)
        reason = error.strerror or "" if isinstance(error, OSError) else str(error)
        self.damage.append(failed_record(self._item, reason, frame_index=self.following))


def _annotated(
    decoded: Iterable[tuple[Item, Frame | MediaError]],
    pipeline: Pipeline,
    batch: int,
    on_step: OnStep,
) -> Iterator[FrameRecord]:
    """Records of one unit; frames wait until `batch` of their size are there, or the unit ends.

    The masks of a batch are finished while models are at the next one.
    """
    waiting: dict[tuple[int, int], list[Frame]] = defaultdict(list)
    begun: deque[tuple[list[Frame], Callable[[], list[FrameRecord]]]] = deque()

    def finished(left: int) -> Iterator[FrameRecord]:
        while len(begun) > left:
            for record in _of_batch(pipeline, *begun.popleft()):
                on_step(_step(record))
                yield record

    def flush(size_hw: tuple[int, int]) -> Iterator[FrameRecord]:
        frames = waiting.pop(size_hw)
        begun.append((frames, _begun(pipeline, frames)))
        yield from finished(left=1)

    for item, frame in decoded:
        if isinstance(frame, MediaError):
            log.warning("%s: %s", item.name, frame)
            record = failed_record(item, str(frame))
            on_step(_step(record))
            yield record
            continue
        waiting[frame.size_hw].append(frame)
        if len(waiting[frame.size_hw]) == batch:
            yield from flush(frame.size_hw)
        elif sum(map(len, waiting.values())) > 2 * batch:  # many sizes: memory before batching
            yield from flush(max(waiting, key=lambda size: len(waiting[size])))
    for size_hw in list(waiting):
        yield from flush(size_hw)
    yield from finished(left=0)


def _step(record: FrameRecord) -> Step:
    """What a record amounts to; that a video is done is said apart."""
    failed = record.status == "failed"
    return Step(int(record.media == "image"), int(not failed), int(failed))


def _begun(pipeline: Pipeline, frames: Sequence[Frame]) -> Callable[[], list[FrameRecord]]:
    """What gives the records of a batch, or the error at which it failed."""
    try:
        return pipeline.begin(frames)
    except Exception as error:
        failed = error
        if _reason(error):
            failed.__traceback__ = None  # which holds the tensors of what failed

    def fail() -> list[FrameRecord]:
        raise failed

    return fail


def _of_batch(
    pipeline: Pipeline, frames: Sequence[Frame], begun: Callable[[], list[FrameRecord]]
) -> Iterator[FrameRecord]:
    """Records of frames of one size; one at which the models fail costs only itself."""
    try:
        yield from begun()
    except Exception as error:
        if not (reason := _reason(error)):
            raise
        error.__traceback__ = None  # which holds the tensors of what failed
        if len(frames) > 1:
            for frame in frames:
                yield from _of_batch(pipeline, [frame], _begun(pipeline, [frame]))
            return
        log.warning("%s: %s", frames[0].item.name, reason)
        yield failed_record(frames[0].item, reason)


def _reason(error: Exception) -> str:
    """Why an item failed by itself, too large or refused; "" where it is not the item's fault."""
    if is_out_of_memory(error):
        return f"out of memory: {one_line(error)}"
    return str(error) if isinstance(error, MediaError) else ""
