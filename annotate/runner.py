"""The local runner: decode ahead, annotate in batches, write a part after every unit of work."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from pathlib import Path

from annotate import records
from annotate.checks import in_range
from annotate.errors import MediaError
from annotate.media import read_image
from annotate.pipeline import Pipeline, failed_record
from annotate.types import Frame, FrameRecord, Item
from annotate.video import open_video

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerRules:
    """How the work is cut and fed, see `runner:` in conf/config.yaml; it changes no record."""

    part_items: int
    workers: int
    ahead: int
    batch: int  # images of one shape per forward
    max_pixels: int  # of one picture; more is a failed item
    stride: int  # every n-th frame of a video

    def __post_init__(self) -> None:
        in_range("runner.part_items", self.part_items, 1)
        in_range("runner.workers", self.workers, 1)
        in_range("runner.ahead", self.ahead, 1)
        in_range("ground.batch", self.batch, 1)
        in_range("dataset.max_pixels", self.max_pixels, 1)
        in_range("video.stride", self.stride, 1)


def run_items(
    items: Sequence[Item],
    pipeline: Pipeline,
    records_dir: Path,
    rules: RunnerRules,
    *,
    on_record: Callable[[FrameRecord], None],
    on_video: Callable[[Item], None],
) -> None:
    """Annotate items that have no record yet: stills in parts of `part_items`, then each video.

    Batches never reach across parts and parts are cut from the sorted items, so a run that was
    interrupted and resumed computes the same batches as one that was not. `on_record` is told of
    every record as soon as it is made, `on_video` of every video that is done.
    """
    for left_behind in records_dir.glob(".*"):  # by a run that was killed
        left_behind.unlink()
    number = _next_part_number(records_dir)
    stills = [item for item in items if item.media == "image"]
    decoded = decode_ahead(
        stills, workers=rules.workers, ahead=rules.ahead, max_pixels=rules.max_pixels
    )
    while unit := list(
        _annotated(islice(decoded, rules.part_items), pipeline, rules.batch, on_record)
    ):
        records.write_part(records_dir, f"part-{number:06d}", unit)
        number += 1
    for item in items:
        if item.media == "video":
            run_video(item, pipeline, records_dir, f"part-{number:06d}", rules, on_record=on_record)
            on_video(item)
            number += 1


def run_video(
    item: Item,
    pipeline: Pipeline,
    records_dir: Path,
    part: str,
    rules: RunnerRules,
    *,
    on_record: Callable[[FrameRecord], None],
) -> None:
    """Annotate one video into one part, holding a few of its frames at a time.

    A video that breaks off keeps the frames before; the break is a failed record after them.
    """
    damage: list[FrameRecord] = []
    passing = pipeline.video(_frames(item, rules, damage))
    drafts = records.PartWriter(records_dir, f".draft-{part}")
    try:
        with drafts:
            for draft in passing.drafts():
                drafts.add(draft)
                on_record(draft)
        with records.PartWriter(records_dir, part) as settled:
            made = passing.settled(records.read_part(drafts.path))
            for record in merge(made, damage, key=lambda r: r.frame_index):
                settled.add(record)
    finally:
        drafts.path.unlink(missing_ok=True)


def _frames(item: Item, rules: RunnerRules, damage: list[FrameRecord]) -> Iterator[Frame]:
    """The frames of a video; where they break off is noted, and a folder goes on behind it."""
    following = 0
    try:
        check_name(item)
        video = open_video(item, max_pixels=rules.max_pixels)
    except MediaError as error:
        _note(item, error, 0, damage)
        return
    while True:
        try:
            for frame in video.frames(stride=rules.stride, start=following):
                following = frame.index + rules.stride
                yield frame
            return
        except MediaError as error:
            _note(item, error, following, damage)
        if not item.path.is_dir():
            return
        following += rules.stride


def _note(item: Item, error: MediaError, index: int, damage: list[FrameRecord]) -> None:
    log.warning("%s: %s", item.name, error)
    damage.append(failed_record(item, str(error), frame_index=index))


def check_name(item: Item) -> None:
    """MediaError where the name has undecodable bytes, which fit neither records nor exports."""
    try:
        str(item.path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MediaError("the file name is not valid UTF-8; rename the file") from error


def decode_ahead(
    items: Iterable[Item], *, workers: int, ahead: int, max_pixels: int
) -> Iterator[tuple[Item, Frame | MediaError]]:
    """Decoded items in their order, `ahead` of them in flight on `workers` threads."""

    def decode(item: Item) -> Frame | MediaError:
        try:
            check_name(item)
            return Frame(item=item, image=read_image(item.path, max_pixels=max_pixels))
        except MediaError as error:
            return error

    pending: deque[tuple[Item, Future[Frame | MediaError]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(decode, item)))
                if len(pending) > ahead:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _annotated(
    decoded: Iterable[tuple[Item, Frame | MediaError]],
    pipeline: Pipeline,
    batch: int,
    on_record: Callable[[FrameRecord], None],
) -> Iterator[FrameRecord]:
    """Records of one unit; frames wait until `batch` of their size are there, or the unit ends."""
    waiting: dict[tuple[int, int], list[Frame]] = defaultdict(list)

    def flush(size_hw: tuple[int, int]) -> Iterator[FrameRecord]:
        for record in pipeline.stills(waiting.pop(size_hw)):
            on_record(record)
            yield record

    for item, frame in decoded:
        if isinstance(frame, MediaError):
            log.warning("%s: %s", item.name, frame)
            record = failed_record(item, str(frame))
            on_record(record)
            yield record
            continue
        waiting[frame.size_hw].append(frame)
        if len(waiting[frame.size_hw]) == batch:
            yield from flush(frame.size_hw)
        elif sum(map(len, waiting.values())) > 2 * batch:  # many sizes: memory before batching
            yield from flush(max(waiting, key=lambda size: len(waiting[size])))
    for size_hw in list(waiting):
        yield from flush(size_hw)


def _next_part_number(records_dir: Path) -> int:
    paths = records.part_paths(records_dir)
    return int(paths[-1].stem.removeprefix("part-")) + 1 if paths else 0
