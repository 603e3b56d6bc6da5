"""A class list as the texts of requests, and what the categories of an answer stand for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from annotate.data.types import ClassList, spoken
from annotate.errors import PromptError
from annotate.ground.prompt_budget import evenly_filled

SEPARATOR = "."


@dataclass(frozen=True, slots=True)
class Texts:
    """What one request asks for. Categories are told apart as `plain` has them."""

    prompt: str  # `wolf.dog`
    stands_for: Mapping[str, tuple[tuple[int, str], ...]]  # by category: class ids and phrases
    speaks_against: Mapping[str, tuple[int, ...]]  # by category: class ids it is a negative of


def requests_of(classes: ClassList, most: int) -> list[Texts]:
    """A class list in as few requests of `most` phrases as need be, each class whole.

    Negatives count as phrases. Raises PromptError for a phrase without a letter or digit, and for
    a class that has more phrases than a request takes.
    """
    costs = [len(spec.phrases) + len(spec.negatives) for spec in classes.classes]
    for spec, cost in zip(classes.classes, costs, strict=True):
        if cost > most:
            raise PromptError(
                f"class {spec.name!r}: {cost} phrases, more than ground.phrases={most}, which one "
                "request takes"
            )
    return [_of(classes, class_ids) for class_ids in evenly_filled(costs, most)]


def _of(classes: ClassList, class_ids: list[int]) -> Texts:
    texts: dict[str, str] = {}  # by what they are told apart by; the first spelling is sent
    finds: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    against: defaultdict[str, list[int]] = defaultdict(list)
    for class_id in class_ids:
        spec = classes.classes[class_id]
        for phrase in spec.phrases:
            finds[plain(texts.setdefault(plain(sent(phrase)), sent(phrase)))].append(
                (class_id, phrase)
            )
        for phrase in spec.negatives:
            against[plain(texts.setdefault(plain(sent(phrase)), sent(phrase)))].append(class_id)
    return Texts(
        SEPARATOR.join(texts.values()),
        {category: tuple(rows) for category, rows in finds.items()},
        {category: tuple(rows) for category, rows in against.items()},
    )


def sent(phrase: str) -> str:
    """A phrase as it is sent: a point in it would break it apart, and becomes a blank."""
    text = " ".join(spoken(phrase).replace(SEPARATOR, " ").split())
    if not any(mark.isalnum() for mark in text):
        raise PromptError(f"phrase {phrase!r}: no letter or digit the service can read")
    return text


def plain(category: str) -> str:
    """What a text and the category that it comes back as have in common."""
    return " ".join(category.casefold().split())
