"""Examples of a class: boxes in pictures, `photo.jpg#x,y,w,h`, that stand beside its phrases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from annotate.data.types import ClassSpec

_FORM = re.compile(r"(.+)#([^,#]+),([^,#]+),([^,#]+),([^,#]+)")


@dataclass(frozen=True, slots=True)
class Example:
    """A box in a picture."""

    picture: Path
    box_xywh: tuple[float, float, float, float]  # px of the upright picture

    @classmethod
    def parse(cls, text: str) -> Example:
        """From `PICTURE#x,y,w,h`. Raises ValueError that says what is wrong."""
        form = _FORM.fullmatch(text)
        try:
            numbers = tuple(float(number) for number in form.groups()[1:]) if form else ()
        except ValueError:
            numbers = ()
        if form is None or len(numbers) != 4:
            raise ValueError("expected PICTURE#x,y,w,h, px of the picture")
        x, y, w, h = numbers
        if not (x >= 0 and y >= 0 and w > 0 and h > 0) or max(numbers) == float("inf"):
            raise ValueError("expected x and y from 0 on, and w and h above 0")
        return cls(Path(form[1]), (x, y, w, h))

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """As corners, px."""
        x, y, w, h = self.box_xywh
        return x, y, x + w, y + h

    def __str__(self) -> str:
        """As it is written, with the whole path."""
        return f"{self.picture}#{self._box}"

    @property
    def label(self) -> str:
        """For people, where a phrase stands else."""
        return f"{self.picture.name}#{self._box}"

    @property
    def _box(self) -> str:
        return ",".join(f"{number:.10g}" for number in self.box_xywh)


def asked_texts(spec: ClassSpec) -> tuple[str, ...]:
    """What a class is looked for by, as records name it: its phrases, then its examples."""
    return (*spec.phrases, *(Example.parse(text).label for text in spec.like))
