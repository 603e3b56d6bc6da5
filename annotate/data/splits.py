"""Which part of a split a picture belongs to."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from annotate.data.types import FrameRecord
from annotate.errors import ConfigError

RESERVED_NAMES = ("images", "labels")  # Ultralytics looks for these folders in a path


def group_of(record: FrameRecord) -> str:
    """What must not be torn apart: a video, or the stills of one folder.

    Stills in the dataset's root folder are on their own, or a flat dataset could not be split.
    """
    return group_name(record.item, record.media)


def group_name(item: str, media: str) -> str:
    """As `group_of`, of an item."""
    folder = PurePosixPath(item).parent.as_posix()
    return item if media == "video" or folder == "." else folder


def split_of(group: str, shares: Mapping[str, float], seed: int) -> str:
    """The split of a group; "" if there are none.

    It depends on the group's name and the seed alone, so a group stays where it is when the
    dataset grows. Splits are laid along [0, 1) by name: the order they are written in is no matter.
    """
    digest = hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    name = ""
    for name in sorted(shares):
        position -= shares[name]
        if position < 0:
            break
    return name


def check_shares(split: Mapping[str, float]) -> None:
    """Raise ConfigError unless the names can be folders and their shares sum to 1.

    An empty split, which is none, is fine.
    """
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


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
