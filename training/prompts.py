"""What to ask about a scene: phrases, and which objects each one describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from annotate.scenes import COLOURS, SHAPES, TRAIN_COMBOS, Combo, SceneObject

KINDS: Final = ("combo", "shape", "colour", "mixed")
_KIND_ODDS: Final = (0.4, 0.25, 0.15, 0.2)
_KEEP_PRESENT: Final = 0.85  # else an object goes unasked for, and must not be reported


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    phrases: tuple[str, ...]
    describes: NDArray[np.bool_]  # (objects, phrases); mixed prompts may name an object twice

    @property
    def text(self) -> str:
        # The final dot matters: without it the last phrase falls out of the text attention mask.
        return ". ".join(self.phrases) + "."


def names_of(item: SceneObject) -> dict[str, str]:
    """Kind of phrase -> the phrase for this object."""
    return {"combo": item.phrase, "shape": item.shape, "colour": f"{item.colour} object"}


def vocabulary(kind: str, combos: Sequence[Combo] = TRAIN_COMBOS) -> list[str]:
    """Every phrase of a kind; phrases of combinations outside `combos` are never asked for."""
    table = {
        "combo": [f"{colour} {shape}" for colour, shape in combos],
        "shape": list(SHAPES),
        "colour": [f"{colour} object" for colour in COLOURS],
    }
    kinds = table if kind == "mixed" else [kind]
    return [phrase for name in kinds for phrase in table[name]]


def sample_prompt(
    rng: Generator,
    objects: Sequence[SceneObject],
    *,
    limit: int,
    kind: str | None = None,
    combos: Sequence[Combo] = TRAIN_COMBOS,
    keep_present: float = _KEEP_PRESENT,
    fill: bool = False,
) -> Prompt:
    """At most `limit` phrases in random order, exactly that many (if there are) with `fill`."""
    kind = kind or str(rng.choice(KINDS, p=_KIND_ODDS))
    known = vocabulary(kind, combos)
    present_all = {name for item in objects for name in names_of(item).values()}
    present = [phrase for phrase in known if phrase in present_all]
    kept = [phrase for phrase in present if rng.random() < keep_present]
    absent = _hard_first(rng, [p for p in known if p not in present_all], present)
    room = limit - len(kept)
    wanted = room if fill else int(rng.integers(0 if kept else 1, max(2, room + 1)))
    phrases = (kept + absent[: max(0, wanted)])[:limit]
    rng.shuffle(phrases)
    describes = np.array([[p in names_of(o).values() for p in phrases] for o in objects], bool)
    return Prompt(tuple(phrases), describes.reshape(len(objects), len(phrases)))


def _hard_first(rng: Generator, absent: list[str], present: list[str]) -> list[str]:
    """Shuffle, and most times put three first that share a word with a phrase that is present."""
    rng.shuffle(absent)
    if rng.random() < 0.3:
        return absent
    words = {word for phrase in present for word in phrase.split()} - {"object"}
    hard = [phrase for phrase in absent if words & set(phrase.split())][:3]
    return hard + [phrase for phrase in absent if phrase not in hard]
