"""What every threshold would keep, and what it would be worth where there is truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.data.printable import printable
from annotate.report.commands import command
from annotate.report.facts import SWEPT, ClassFacts, Facts

STEPS = len(SWEPT)
TABLE = range(5, STEPS, 5)  # steps that a page without script shows


@dataclass(frozen=True, slots=True)
class Kept:
    """All classes at one threshold; a class with a threshold of its own stays at that."""

    threshold: float
    instances: int
    precision: float | None  # None: it cannot be told
    recall: float | None


def totals(facts: Facts, steps: Sequence[int] = TABLE) -> list[Kept]:
    """What the thresholds of some steps of SWEPT keep in total."""
    judged = _judged(facts)
    rows = []
    for step in steps:
        kept = sum(c.kept if c.own else c.swept[step] for c in facts.classes)
        found, right, objects = (
            sum(_at(series[k], step) for series in judged.values())
            for k in ("found", "right", "objects")
        )
        rows.append(
            Kept(
                step / 100,
                kept,
                right / found if found else None,
                right / objects if objects else None,
            )
        )
    return rows


def for_script(facts: Facts, listed: Sequence[int]) -> dict[str, Any]:
    """The same for the page's script, class by class: counts per step of SWEPT.

    A class with a threshold of its own has one figure in place of each series. Classes that are
    not among `listed`, their ids, are one entry together.
    """
    judged = _judged(facts)
    apart = set(listed)
    others = [c for n, c in enumerate(facts.classes) if n not in apart]
    return {
        "command": command("export", facts.places, "threshold="),
        "start": round(100 * facts.threshold),
        "judged": bool(judged),
        "classes": [
            {
                "name": printable(c.name),
                "from": c.threshold,
                "own": c.own,
                "now": c.kept,
                "kept": c.kept if c.own else _trimmed(c.swept),
                **judged.get(c.name, {}),
            }
            for c in (facts.classes[n] for n in listed)
        ]
        + ([_together(others, judged)] if others else []),
    }


def _together(classes: Sequence[ClassFacts], judged: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of classes that are not listed one by one."""
    scores = [judged[c.name] for c in classes if c.name in judged]
    steps = range(STEPS)
    summed = {k: [sum(_at(s[k], n) for s in scores) for n in steps] for k in ("found", "right")}
    return {
        "name": f"{len(classes):,} other classes",
        "from": 0,
        "own": False,
        "now": sum(c.kept for c in classes),
        "kept": [sum(c.kept if c.own else c.swept[n] for c in classes) for n in steps],
        **({**summed, "objects": sum(s["objects"] for s in scores)} if scores else {}),
    }


def first_step(facts: Facts) -> int:
    """The lowest step that records can tell of: that of the record floor."""
    ground = facts.asked.get("ground")
    floor = ground.get("floor") if isinstance(ground, Mapping) else None
    if not isinstance(floor, (int, float)) or not 0 <= floor <= 1:
        return 0
    return min(math.ceil(round(100 * floor, 6)), round(100 * facts.threshold))


def _judged(facts: Facts) -> dict[str, dict[str, Any]]:
    """By class that was judged: objects, and what is found and right of them per step of SWEPT.

    Empty where nothing was judged, or by a version that did not keep it.
    """
    evaluation = facts.evaluation or {}
    steps = [round(100 * p["threshold"]) for p in evaluation.get("curve", ())]
    scores: Mapping[str, Any] = evaluation.get("classes", {})
    if steps != list(range(1, STEPS - 1)) or not all("found" in s for s in scores.values()):
        return {}
    series = {}
    for c in facts.classes:
        if c.name not in scores:
            continue
        of_class = scores[c.name]
        told = {"objects": of_class["rates"]["objects"]}
        for kind in ("found", "right"):
            # What is below the lowest threshold that was judged, or above the highest: as there.
            swept = [of_class[kind][0], *of_class[kind], of_class[kind][-1]]
            told[kind] = of_class["rates"][kind] if c.own else _trimmed(swept)
        series[c.name] = told
    return series


def _trimmed(series: Sequence[int]) -> list[int]:
    """Without the zeros at the end."""
    end = len(series)
    while end and not series[end - 1]:
        end -= 1
    return list(series[:end])


def _at(series: int | Sequence[int], step: int) -> int:
    if isinstance(series, int):
        return series
    return series[step] if step < len(series) else 0
