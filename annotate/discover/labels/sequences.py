"""MOTChallenge's folders, of boxes or of masks: `gt/gt.txt`, `seqinfo.ini`, `img1/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from annotate.discover.labels.contents import Contents, picture_name


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video."""

    folder: Path
    name: str  # below the folder that is read
    size_hw: tuple[int, int] | None
    length: int  # frames; 0 where nothing says it
    labels: dict[int, str]  # names by number of class

    @property
    def lines(self) -> Iterator[tuple[int, str]]:
        """The lines of `gt.txt` that hold anything, counted from 1."""
        with (self.folder / "gt" / "gt.txt").open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()


def sequences(path: Path) -> Iterator[Sequence]:
    """The sequences below a folder."""
    for gt in _files(path):
        folder = gt.parent.parent
        said = ConfigParser(interpolation=None)
        said.read(folder / "seqinfo.ini", encoding="utf-8-sig")
        info = said["Sequence"] if said.has_section("Sequence") else {}
        size = None
        if "imheight" in info and "imwidth" in info:
            size = int(info["imheight"]), int(info["imwidth"])
        labels = folder / "gt" / "labels.txt"
        names = labels.read_text(encoding="utf-8-sig").splitlines() if labels.is_file() else []
        numbered = {n: name for n, name in enumerate(names, start=1) if name != "-"}
        name = folder.relative_to(path).as_posix()
        yield Sequence(folder, name, size, int(info.get("seqlength", 0)), numbered)


def _files(path: Path) -> list[Path]:
    """Of one sequence, of a folder of those, or of sets of those."""
    return sorted(p for depth in ("", "*/", "*/*/") for p in path.glob(f"{depth}gt/gt.txt"))


def first_line(path: Path) -> str:
    """Of any sequence below a folder; "" where there is none that says anything."""
    for gt in _files(path):
        with gt.open(encoding="utf-8-sig") as file:
            if line := file.readline().strip():
                return line
    return ""


def read_with(
    path: Path, add: Callable[[Contents, Sequence, str, dict[int, int]], None]
) -> Contents:
    """Read sequences; `add` adds a line, given the pictures by number of frame. ValueError."""
    found = list(sequences(path))
    contents = Contents(path, dict.fromkeys(n for s in found for n in s.labels.values()))
    for sequence in found:
        numbers = range(1, sequence.length + 1)
        if not sequence.length:
            last = max((int(float(_first(line))) for _, line in sequence.lines), default=0)
            numbers = range(1, last + 1)
        start = "" if sequence.name == "." else f"{sequence.name}/"
        images = {}
        for number in numbers:
            stem = f"img1/{number:06d}"
            name = start + picture_name(sequence.folder, stem)
            more = {"video": sequence.name}
            images[number] = contents.image(name, sequence.size_hw, **more)
        for at, line in sequence.lines:
            try:
                add(contents, sequence, line, images)
            except (ValueError, IndexError, KeyError) as error:
                raise ValueError(
                    f"{start}gt/gt.txt:{at}: {line[:60]!r} is no line of it"
                ) from error
    return contents


def _first(line: str) -> str:
    return line.replace(",", " ").split()[0]
