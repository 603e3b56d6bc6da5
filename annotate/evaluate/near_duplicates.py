"""Stills that look alike: a difference hash per picture, compared within a few bits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

import cv2
import numpy as np
from PIL import Image as PilImage

from annotate.data.types import Image, Item
from annotate.decode.download import at_hand
from annotate.decode.image import FORMATS, is_deep, read_image
from annotate.record.run_folder import Run

ALIKE_BITS: Final = 3  # of 64; of two pictures that are alike fewer or as many differ
_BANDS: Final = 4  # of 16 bits each: with three differences one band of four is the same
_THREADS: Final = 2
_AT_ONCE: Final = 256
_FLAT: Final = 4.0  # grey levels; below this spread a hash says nothing


def repeated_stills(run: Run) -> dict[str, str]:
    """Annotated stills that look like one before them by name, each with that one.

    A picture that is gone, or that has hardly any contrast, is like no other.
    """
    table = run.table()
    kept: set[str] = set()
    for batch in table.to_batches(columns=["item", "media", "status"]):
        for item, media, status in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            if media == "image" and status == "ok":
                kept.add(item)
    items = sorted(kept)
    return dict(repeated(_hashed(run, items)))


def repeated(hashes: Iterable[tuple[str, int | None]]) -> Iterator[tuple[str, str]]:
    """Names whose 64-bit hash is within `ALIKE_BITS` of an earlier one, with the name of that."""
    known: defaultdict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for name, value in hashes:
        if value is None:
            continue
        keys = [(band, value >> (16 * band) & 0xFFFF) for band in range(_BANDS)]
        near = (of for key in keys for other, of in known[key] if _alike(value, other))
        if (earlier := next(near, None)) is not None:
            yield name, earlier
            continue
        for key in keys:
            known[key].append((value, name))


def _alike(value: int, other: int) -> bool:
    return (value ^ other).bit_count() <= ALIKE_BITS


def difference_hash(grey: Image) -> int | None:
    """64 bits of a grey picture (h, w): whether brightness rises from pixel to pixel of 9 x 8.

    Bits of neighbours lie in different bands: else all pictures with a white top would share one.
    """
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    if small.std() < _FLAT:
        return None
    rises = (small[:, 1:] > small[:, :-1]).reshape(-1, _BANDS).T
    return int.from_bytes(np.packbits(rises.ravel()).tobytes(), "big")


def _hashed(run: Run, items: Iterable[str]) -> Iterator[tuple[str, int | None]]:
    with ThreadPoolExecutor(_THREADS) as pool:
        names = iter(items)
        while some := list(islice(names, _AT_ONCE)):
            sources = [run.source(item, "image") for item in some]
            yield from zip(some, pool.map(_hash_of, sources), strict=True)


def _hash_of(item: Item) -> int | None:
    try:
        with at_hand(item) as here, PilImage.open(here.path, formats=FORMATS) as picture:
            if is_deep(picture):
                return difference_hash(read_image(here.path, depth=here.depth).max(axis=2))
            picture.draft("L", (64, 64))  # a JPEG is decoded no larger than it is needed
            return difference_hash(np.asarray(picture.convert("L")))
    except Exception:  # decoders raise what they like; a picture that is gone is like no other
        return None
