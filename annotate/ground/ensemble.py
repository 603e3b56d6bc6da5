"""Several grounders as one: each is asked, and what they found is fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal

from annotate.config.settings import Share
from annotate.config.target import Target
from annotate.data.checks import within
from annotate.data.types import ClassList, Frame, Image
from annotate.errors import ConfigError
from annotate.ground.base import Candidates, Grounder
from annotate.ground.fusion import fused


class Ensemble(Grounder):
    """Grounders by name; what each found, and how many of them, is fused. See `fusion`."""

    decides_nothing = ()

    def __init__(
        self,
        *,
        members: Mapping[str, Target],
        weights: dict[str, Annotated[float, within(0.001)]],
        iou: Share,
        score: Literal["mean", "best"],
    ) -> None:
        if len(members) < 2:
            raise ConfigError(
                f"ground.members={list(members)}: an ensemble has two grounders or more, such as "
                "ground='[balanced,owlv2]'"
            )
        if unknown := weights.keys() - members.keys():
            raise ConfigError(
                f"ground.weights.{min(unknown)}: no member; there are {', '.join(members)}"
            )
        self._members = {name: target.make(Grounder) for name, target in members.items()}
        self._weights = [weights.get(name, 1.0) for name in members]
        self._iou, self._score = iou, score

    @property
    def parts(self) -> Sequence[Grounder]:
        """Its members."""
        return [part for member in self._members.values() for part in member.parts]

    def tiled(self, wrap: Callable[[Grounder], Grounder]) -> Grounder:
        """See Grounder: each member is."""
        tiled = copy(self)
        tiled._members = {name: member.tiled(wrap) for name, member in self._members.items()}
        return tiled

    def check(self) -> None:
        """See Grounder."""
        for member in self._members.values():
            member.check()

    def keep_in(self, folder: Path) -> None:
        """See Grounder."""
        for member in self._members.values():
            member.keep_in(folder)

    def load(self, classes: ClassList) -> None:
        """See Grounder. All of them are in memory at a time."""
        for member in self._members.values():
            member.load(classes)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        return self._fused([member.find(images, floor) for member in self._members.values()])

    def find_in(self, frames: Sequence[Frame], floor: float) -> list[Candidates]:
        """See Grounder."""
        return self._fused([member.find_in(frames, floor) for member in self._members.values()])

    def _fused(self, of_each: Sequence[Sequence[Candidates]]) -> list[Candidates]:
        return [
            fused(of_picture, self._weights, iou=self._iou, score=self._score)
            for of_picture in zip(*of_each, strict=True)
        ]

    @property
    def tally(self) -> Mapping[str, int]:
        """Of its members."""
        return {
            f"{what} ({name})": count
            for name, member in self._members.items()
            for what, count in member.tally.items()
        }

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of its members, by name."""
        members = {name: dict(member.provenance) for name, member in self._members.items()}
        return {"model": " + ".join(self._members), "members": members}
