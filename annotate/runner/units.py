"""The work cut into units: what is computed together, written as one part, and lost at most."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from annotate.data.types import Item
from annotate.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """The k-th of n shares of a run, k counting from 1."""

    number: int
    of: int

    @property
    def label(self) -> str:
        """For file names."""
        return f"{self.number}-of-{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `3/8`; raises ConfigError."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"shard={text}: expected K/N with 1 <= K <= N, such as shard=3/8")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Unit:
    """Stills, or one video. Nothing but its items decides its records and their part's name."""

    number: int  # place in the plan of the whole dataset
    items: tuple[Item, ...]

    @property
    def is_video(self) -> bool:
        return self.items[0].media == "video"

    @property
    def part(self) -> str:
        """The name of its part; units of other items never share it."""
        names = "\0".join(item.name for item in self.items)
        return f"part-{self.number:06d}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run has come on."""

    items: int = 0
    frames: int = 0  # annotated
    failed: int = 0  # failed records
    before: int = 0  # frames of videos that an earlier attempt had made

    def __add__(self, other: Step) -> Step:
        return Step(
            self.items + other.items,
            self.frames + other.frames,
            self.failed + other.failed,
            self.before + other.before,
        )


def cut(items: Sequence[Item], part_items: int) -> list[Unit]:
    """The plan of a dataset: stills in their order, `part_items` to a unit, then each video.

    It does not depend on what is done already, who works or in which order. So a run that was
    interrupted, spread over shards or given to a cluster computes the same batches as any other.
    """
    stills = [item for item in items if item.media == "image"]
    groups = [tuple(stills[i : i + part_items]) for i in range(0, len(stills), part_items)]
    groups += [(item,) for item in items if item.media == "video"]
    return [Unit(number, group) for number, group in enumerate(groups)]


def share(units: Sequence[Unit], shard: Shard | None) -> list[Unit]:
    """The units of a shard: every n-th one, so that videos are spread as well."""
    return list(units if shard is None else units[shard.number - 1 :: shard.of])


def to_do(units: Sequence[Unit], names: Collection[str]) -> list[Unit]:
    """What is left of the units when only the items of these names are to be done."""
    left = (replace(u, items=tuple(i for i in u.items if i.name in names)) for u in units)
    return [unit for unit in left if unit.items]
