"""Tables of figures, and the pictures that they are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

SQUARE: Final = ((192, 192), (256, 256), (384, 384))
OBLONG: Final = ((256, 192), (320, 240), (240, 320), (480, 270), (270, 480), (640, 480))
CLIP_FRAMES: Final = 64


@dataclass(slots=True)
class Table:
    """Rows of a Markdown table, printed as they come."""

    columns: tuple[str, ...]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._emit(self.columns)
        self._emit(("---",) * len(self.columns))

    def add(self, *cells: str | float) -> None:
        self._emit([f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells])

    def _emit(self, cells: Sequence[str]) -> None:
        self.lines.append("| " + " | ".join(cells) + " |")
        print(self.lines[-1], flush=True)
