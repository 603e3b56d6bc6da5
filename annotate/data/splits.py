"""Which part of a split a picture belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from annotate.data.types import FrameRecord


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
