"""Which set of a split a picture belongs to."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from annotate.errors import ConfigError

log = logging.getLogger(__name__)

Split = Mapping[str, float] | Literal["folders"] | None
"""Shares by name that sum to 1; or the sets that folders are named for; None: no split."""

RESERVED_NAMES = ("images", "labels")  # Ultralytics looks for these folders in a path
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SETS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """The sets of a split, and the set of every item that has one."""

    names: tuple[str, ...]
    shares: Mapping[str, float]  # as they were asked for; {} where folders decide
    set_of: Mapping[str, str]  # by item; without a split, nothing is in it

    def of(self, item: str) -> str | None:
        """The set of an item: "" without a split, None where no folder names one."""
        return self.set_of.get(item) if self.names else ""


def split_items(items: Iterable[tuple[str, str]], split: Split, seed: int) -> Splits:
    """Divide items, given with their media ("image" or "video"), as `export.split` asks.

    A group (a video, or the stills of a folder) is kept together, and where it goes depends on its
    name and the seed alone: it stays there when the dataset grows. Where that leaves a set empty,
    stills are divided one by one, then what lies nearest is moved, and it is said. Raises
    ConfigError where a set must stay empty.
    """
    if not split:
        return Splits((), {}, {})
    items = list(items)
    if split == "folders":
        return _by_folders(item for item, _ in items)
    shares = dict(split)
    spread = _spread(items, shares, seed, group_name)
    if missing := _empty(spread, shares):
        log.warning(
            "export.split: by folders and videos %s would be empty; stills are divided one by one",
            " and ".join(missing),
        )
        spread = _spread(items, shares, seed, lambda item, _: item)
        for name in _empty(spread, shares):
            _fill(name, spread, shares, seed)
    return Splits(tuple(shares), shares, spread)


def group_name(item: str, media: str) -> str:
    """What must not be torn apart: a video, or the stills of one folder.

    Stills in the dataset's root folder are on their own, or a flat dataset could not be split.
    """
    folder = PurePosixPath(item).parent.as_posix()
    return item if media == "video" or folder == "." else folder


def split_of(group: str, shares: Mapping[str, float], seed: int) -> str:
    """The set of a group.

    Sets are laid along [0, 1) by name: the order they are written in is no matter.
    """
    position = _position(group, seed)
    name = ""
    for name in sorted(shares):
        position -= shares[name]
        if position < 0:
            break
    return name


def check_split(split: Split) -> None:
    """Raise ConfigError unless the names can be folders and their shares sum to 1.

    An empty split, which is none, is fine.
    """
    if split == "folders" or split is None:
        return
    for name, share in split.items():
        _require(
            re.fullmatch(r"[\w-]{1,50}", str(name)) is not None
            and name.casefold() not in RESERVED_NAMES,
            f"export.split: {name!r} cannot name a folder; use letters, digits, _ and -, "
            f"but not {' or '.join(RESERVED_NAMES)}",
        )
        _require(
            not isinstance(share, str) and 0 < share <= 1,
            f"export.split.{name}={share}: expected a share above 0 and up to 1",
        )
    _require(
        len({name.casefold() for name in split}) == len(split),
        f"export.split: {', '.join(split)} name the same folder on some systems",
    )
    total = math.fsum(split.values())
    _require(
        not split or abs(total - 1) <= 1e-6, f"export.split: shares sum to {total:g}, expected 1"
    )


def _by_folders(items: Iterable[str]) -> Splits:
    """The set that the first folder of an item's path names that can: `train2017` is one too."""
    set_of = {}
    for item in items:
        for part in PurePosixPath(item).parent.parts:
            if name := FOLDERS.get(re.sub(r"\d{4}$", "", part).casefold()):
                set_of[item] = name
                break
    _require(
        bool(set_of),
        "export.split=folders: no folder of the dataset is named train, val or test; "
        "give shares, such as export.split='{train: 0.8, val: 0.2}'",
    )
    return Splits(tuple(s for s in SETS if s in set_of.values()), {}, set_of)


def _spread(
    items: Iterable[tuple[str, str]],
    shares: Mapping[str, float],
    seed: int,
    group: Callable[[str, str], str],
) -> dict[str, str]:
    return {item: split_of(group(item, media), shares, seed) for item, media in items}


def _empty(spread: Mapping[str, str], shares: Mapping[str, float]) -> list[str]:
    """The sets that no item is in; with no item at all there is nothing to miss."""
    return sorted(shares.keys() - set(spread.values())) if spread else []


def _fill(name: str, spread: dict[str, str], shares: Mapping[str, float], seed: int) -> None:
    """Move the item that lies nearest to an empty set into it, out of a set that has others."""
    sizes = Counter(spread.values())
    before = math.fsum(share for other, share in shares.items() if other < name)
    middle = before + shares[name] / 2
    movable = [item for item, held in spread.items() if sizes[held] > 1]
    _require(
        bool(movable),
        f"export.split: {len(spread)} pictures and videos cannot fill {len(shares)} sets, {name} "
        "would be empty; a video is never divided. Leave export.split out, or add data",
    )
    nearest = min(movable, key=lambda item: (abs(_position(item, seed) - middle), item))
    spread[nearest] = name


def _position(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
