"""What MOTChallenge's formats share: `<split>/<video>/img1/000001.jpg` with a `gt/gt.txt`.

Beside it `seqinfo.ini`, and the names of classes in `gt/labels.txt`; frames and ids count from 1.
`seqmaps/<split>.txt` lists the sequences, for TrackEval. There is no place for stills.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.by_track import once_a_track
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures


class Sequences(Exporter):
    """One kind of lines."""

    layout = Layout(
        folder="",
        frame="{split}/{item}/img1/{number:06d}",
        first=1,
        unsplit="train",
        videos_only=True,
        portable=True,
        suffix=".jpg",
    )
    once_a_track = True
    cannot_hold: ClassVar[tuple[str, ...]] = ()  # of an instance

    @abstractmethod
    def lines(
        self, picture: Picture, instances: Sequence[Instance], not_held: Counter[str]
    ) -> Iterator[str]:
        """A line for each of the instances of a frame; what is lost is counted."""

    @abstractmethod
    def class_number(self, class_id: int) -> int:
        """How lines have a class."""

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write a folder for each video; memory does not grow with the run."""
        not_held: Counter[str] = Counter()
        listed: dict[str, list[str]] = {name: [] for name in pictures.sets}
        labels = _labels(pictures.classes.names, self.class_number)
        for (split, name), of_video in groupby(pictures, self._sequence):
            listed[split].append(name)
            sequence = folder / split / name
            (sequence / "gt").mkdir(parents=True)
            (sequence / "gt" / "labels.txt").write_text(labels, encoding="utf-8", newline="\n")
            rate = _FrameRate()
            with (sequence / "gt" / "gt.txt").open("w", encoding="ascii", newline="\n") as file:
                for picture in of_video:
                    rate.add(picture.record.time_s)
                    kept = once_a_track(picture.instances, not_held)
                    file.writelines(f"{line}\n" for line in self.lines(picture, kept, not_held))
                    for what in self.cannot_hold:
                        not_held[what] += len(kept)
            _write_seqinfo(sequence, picture, rate.per_s)
        (folder / "seqmaps").mkdir()
        for split, names in listed.items():
            text = "\n".join(["name", *names]) + "\n"
            (folder / "seqmaps" / f"{split}.txt").write_text(text, encoding="utf-8", newline="\n")
        return +not_held

    def _sequence(self, picture: Picture) -> tuple[str, str]:
        return picture.split or self.layout.unsplit, picture.item


def _labels(names: list[str], class_number: Callable[[int], int]) -> str:
    """A name a line, on the line that a class is by its number; `-` where there is none."""
    numbers = {class_number(i): name for i, name in enumerate(names)}
    return "".join(f"{numbers.get(n, '-')}\n" for n in range(1, max(numbers, default=0) + 1))


def _write_seqinfo(sequence: Path, last: Picture, frames_per_s: float) -> None:
    written = ConfigParser(interpolation=None)
    written.optionxform = str  # type: ignore[assignment,method-assign]  # keeps capitals
    written["Sequence"] = {
        "name": sequence.name,
        "imDir": "img1",
        "frameRate": f"{frames_per_s:g}",
        "seqLength": str(last.number),
        "imWidth": str(last.record.width),
        "imHeight": str(last.record.height),
        "imExt": ".jpg",
    }
    with (sequence / "seqinfo.ini").open("w", encoding="utf-8", newline="\n") as file:
        written.write(file, space_around_delimiters=False)


class _FrameRate:
    """Frames a second of those that are exported, from their times; 0 of a single one."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last, self._count = 0.0, 0

    def add(self, time_s: float) -> None:
        """The time of the next frame."""
        self._first = time_s if self._first is None else self._first
        self._last, self._count = time_s, self._count + 1

    @property
    def per_s(self) -> float:
        span = self._last - (self._first or 0.0)
        return round((self._count - 1) / span, 3) if span > 0 else 0.0
