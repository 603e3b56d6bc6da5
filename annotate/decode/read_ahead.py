"""Stills and frames decoded ahead of the models, on threads, in their order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from annotate.data.types import Frame, Image, Item
from annotate.decode.depth import Scale
from annotate.decode.download import at_hand
from annotate.decode.image import read_image
from annotate.errors import MediaError


def check_name(item: Item) -> None:
    """MediaError where the name has undecodable bytes, which fit neither records nor exports."""
    try:
        str(item.path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MediaError("the file name is not valid UTF-8; rename the file") from error


def decode_ahead(
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    max_pixels: int,
    crowded: Callable[[], bool] = lambda: False,
    tell: Callable[[str, Scale, Image], None] = lambda name, scale, image: None,
) -> Iterator[tuple[Item, Frame | MediaError]]:
    """Decoded items in their order, `ahead` of them in flight on `workers` threads.

    While memory is `crowded`, those in flight are handed out before others are begun. `tell` is
    told how values of more than 8 bits were scaled.
    """

    def decode(item: Item) -> Frame | MediaError:
        try:
            check_name(item)
            with at_hand(item) as here:
                image = read_image(
                    here.path,
                    max_pixels=max_pixels,
                    depth=item.depth,
                    tell=partial(tell, item.name),
                )
                return Frame(item=item, image=image)
        except MediaError as error:
            return error

    pending: deque[tuple[Item, Future[Frame | MediaError]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(decode, item)))
                while len(pending) > ahead or (pending and crowded()):
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


AHEAD_BYTES = 256 * 2**20  # of a video's frames decoded ahead; one is, whatever it takes
PATIENCE_S = 0.05  # from one look at memory, or at who is gone, to the next


def frames_ahead(
    frames: Iterator[Frame], ahead: int, *, crowded: Callable[[], bool] = lambda: False
) -> Iterator[Frame]:
    """Frames in their order, up to `ahead` of them decoded in a thread before they are asked for.

    What the decoder raises is raised behind the frames before it. While memory is `crowded`, no
    frame is decoded before the one ahead of it was taken.
    """
    made: queue.SimpleQueue[Frame | BaseException | None] = queue.SimpleQueue()
    taken = threading.Semaphore(0)
    gone = threading.Event()
    waiting = 0  # decoded, and not taken yet; of the thread's own counting

    def decode() -> None:
        nonlocal waiting
        try:
            for frame in frames:
                made.put(frame)
                waiting += 1
                while taken.acquire(blocking=False):
                    waiting -= 1
                room = max(1, min(ahead, AHEAD_BYTES // max(1, frame.image.nbytes)))
                while not gone.is_set() and (waiting >= room or (waiting and crowded())):
                    if taken.acquire(timeout=PATIENCE_S):
                        waiting -= 1
                if gone.is_set():
                    return
            made.put(None)
        except BaseException as error:
            made.put(error)
        finally:
            if isinstance(frames, Generator):
                frames.close()

    thread = threading.Thread(target=decode, name="decode video", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            taken.release()
            yield item
    finally:
        gone.set()
        taken.release()
        thread.join()
