"""What to ask about a scene: phrases, and which objects each one describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from annotate.synthetic.canvas import SceneObject
from annotate.synthetic.vocabulary import (
    ANYTHING,
    COLOURS,
    MATERIALS,
    SHAPES,
    SIZES,
    SYNONYMS,
    TRAIN_COMBOS,
    Combo,
    plural,
)

KINDS: Final = ("combo", "shape", "colour", "material", "size", "mixed")
_KIND_ODDS: Final = (0.3, 0.28, 0.08, 0.1, 0.1, 0.14)
# Share of the fitting phrases that a prompt keeps, drawn for each: what goes unasked for must not
# be reported, not even where nothing that is there is asked for.
_KEEP_PRESENT: Final = (0.85, 0.85, 0.85, 0.5, 0.0)
_OTHER_WORD_ODDS: Final = 0.2  # of saying a word by a synonym
_PLURAL_ODDS: Final = 0.12


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    phrases: tuple[str, ...]  # as asked
    describes: NDArray[np.bool_]  # (objects, phrases); mixed prompts may name an object twice

    @property
    def text(self) -> str:
        # The final dot matters: without it the last phrase falls out of the text attention mask.
        return ". ".join(self.phrases) + "."


def names_of(item: SceneObject) -> dict[str, tuple[str, ...]]:
    """Kind of phrase -> the phrases of that kind for this object."""
    return {
        "combo": (item.phrase,),
        "shape": (item.shape,),
        "colour": (f"{item.colour} {ANYTHING}",),
        "material": _qualified(item.material, item),
        "size": _qualified(item.size, item) if item.size else (),
    }


def _qualified(word: str, item: SceneObject) -> tuple[str, ...]:
    return f"{word} {item.shape}", f"{word} {ANYTHING}", f"{word} {item.phrase}"


@cache
def vocabulary(kind: str, combos: tuple[Combo, ...] = TRAIN_COMBOS) -> tuple[str, ...]:
    """Every phrase of a kind; phrases of combinations outside `combos` are never asked for."""
    pairs = tuple(f"{colour} {shape}" for colour, shape in combos)
    things = (*SHAPES, ANYTHING, *pairs)
    table = {
        "combo": pairs,
        "shape": tuple(SHAPES),
        "colour": tuple(f"{colour} {ANYTHING}" for colour in COLOURS),
        "material": tuple(f"{word} {thing}" for word in MATERIALS for thing in things),
        "size": tuple(f"{word} {thing}" for word in SIZES for thing in things),
    }
    if kind == "mixed":
        return tuple(phrase for phrases in table.values() for phrase in phrases)
    return table[kind]


def sample_prompt(
    rng: Generator,
    objects: Sequence[SceneObject],
    *,
    limit: int,
    kind: str | None = None,
    combos: Sequence[Combo] = TRAIN_COMBOS,
    keep_present: float | None = None,
    fill: bool = False,
    vary: bool = False,
) -> Prompt:
    """At most `limit` phrases in random order, exactly that many (if there are) with `fill`.

    With `vary` some are said by synonyms or in the plural.
    """
    kind = kind or str(rng.choice(KINDS, p=_KIND_ODDS))
    if keep_present is None:
        keep_present = float(rng.choice(_KEEP_PRESENT))
    known = vocabulary(kind, tuple(combos))
    names = [{name for of_kind in names_of(o).values() for name in of_kind} for o in objects]
    present_all = set().union(*names)
    present = [phrase for phrase in known if phrase in present_all]
    kept = [phrase for phrase in present if rng.random() < keep_present]
    absent = _hard_first(rng, [p for p in known if p not in present_all], present)
    if len(kept) > limit:
        kept = [kept[i] for i in rng.permutation(len(kept))[:limit]]
    room = limit - len(kept)
    wanted = room if fill else int(rng.integers(0 if kept else 1, max(2, room + 1)))
    phrases = (kept + absent[: max(0, wanted)])[:limit]
    rng.shuffle(phrases)
    describes = np.array([[p in own for p in phrases] for own in names], bool)
    said = tuple(say(rng, phrase) for phrase in phrases) if vary else tuple(phrases)
    return Prompt(said, describes.reshape(len(objects), len(phrases)))


def say(rng: Generator, phrase: str) -> str:
    """A phrase in other words, at times."""
    words = [
        str(rng.choice(SYNONYMS[word]))
        if word in SYNONYMS and rng.random() < _OTHER_WORD_ODDS
        else word
        for word in phrase.split()
    ]
    said = " ".join(words)
    return plural(said) if rng.random() < _PLURAL_ODDS else said


def _hard_first(rng: Generator, absent: list[str], present: list[str]) -> list[str]:
    """Shuffle, and most times put six first that share a word with a phrase that is present."""
    absent = [absent[i] for i in rng.permutation(len(absent))]
    if rng.random() < 0.3:
        return absent
    words = {word for phrase in present for word in phrase.split()} - {ANYTHING}
    hard = [phrase for phrase in absent if words & set(phrase.split())][:6]
    chosen = set(hard)
    return hard + [phrase for phrase in absent if phrase not in chosen]
