"""Stills decoded ahead of the models, on threads, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
