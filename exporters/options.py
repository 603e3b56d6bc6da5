"""What an export is asked, and what it says it did."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from annotate.errors import ConfigError
from exporters.staging import Staging

MASK_FORMATS = ("polygons", "rle")
SELECTIONS = ("all", "reviewed", "accepted")
RESERVED_SPLITS = ("images", "labels")  # Ultralytics looks for these folders in a path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """One export for every format; ConfigError when a value is out of its range."""

    threshold: (
        float  # 0..1; instances with this score or more are exported, unless a class has its own
    )
    only: str  # all | reviewed | accepted; what people rejected is in none of them
    split: Mapping[str, float]  # shares by name that sum to 1; empty: no split
    split_seed: int
    media: Staging
    coco_masks: str  # polygons | rle
    polygon_tolerance: float  # px, >= 0
    frames_stride: int  # every n-th annotated frame of a video is exported, >= 1

    def __post_init__(self) -> None:
        _require(0 <= self.threshold <= 1, f"threshold={self.threshold}: expected 0 to 1")
        _require(
            self.only in SELECTIONS,
            f"only={self.only}: expected one of {', '.join(SELECTIONS)}",
        )
        _require(
            self.media in get_args(Staging),
            f"export.media={self.media}: expected one of {', '.join(get_args(Staging))}",
        )
        _require(
            self.coco_masks in MASK_FORMATS,
            f"coco.masks={self.coco_masks}: expected one of {', '.join(MASK_FORMATS)}",
        )
        _require(
            0 <= self.polygon_tolerance < math.inf,
            f"coco.tolerance={self.polygon_tolerance}: expected 0 px or more",
        )
        _require(
            self.frames_stride >= 1,
            f"export.frames_stride={self.frames_stride}: expected 1 frame or more",
        )
        _check_split(self.split)


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What one export holds and what it left out."""

    format: str
    path: Path | str  # its folder, or the url of one on a store
    images: int
    instances: int
    per_class: dict[str, int]  # instances by class name
    per_split: dict[str, int]  # images by split; empty without a split
    left_out: dict[str, int]  # images and instances by reason


def _check_split(split: Mapping[str, float]) -> None:
    for name, share in split.items():
        _require(
            re.fullmatch(r"[\w-]{1,50}", str(name)) is not None
            and name.casefold() not in RESERVED_SPLITS,
            f"export.split: {name!r} cannot name a folder; use letters, digits, _ and -, "
            f"but not {' or '.join(RESERVED_SPLITS)}",
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
