"""A table of figures, and what a measurement is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Table:
    """Rows are texts and numbers as they were measured; how numbers are shown is decided here."""

    title: str
    note: str  # what was compared with what, and the target
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """Under a heading of the third level."""
        lines = [f"### {self.title}", "", self.note, ""]
        lines.append(f"| {' | '.join(self.columns)} |")
        lines.append(f"|{'---|' * len(self.columns)}")
        lines += [f"| {' | '.join(map(shown, row))} |" for row in self.rows]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Options:
    """Where it is measured, and how thoroughly."""

    device: str  # cpu | cuda
    full: bool = False  # models of full size with random weights and longer runs, too
    quick: bool = False  # the smallest case of each, to see that it works


def shown(value: Cell) -> str:
    """Three digits of a number, all of a text."""
    if isinstance(value, (str, int)):
        return f"{value:,}" if isinstance(value, int) else value
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
