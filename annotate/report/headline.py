"""What a person wants to know first of a run, a line each, with where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.report.commands import command
from annotate.report.drift import Drift
from annotate.report.facts import DOUBTFUL, Facts

# A class with fewer is not named where others have more: its figures are those of chance.
_FEW_INSTANCES = 5
_FEW_OBJECTS = 10  # of the truth


@dataclass(frozen=True, slots=True)
class Line:
    """One answer."""

    about: str
    text: str
    href: str = ""  # where to look on the page
    wrong: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The score or, where there is none, how much there is; then the rest."""

    figure: str
    meaning: str
    lines: Sequence[Line]


def classes_by_need(facts: Facts) -> list[int]:
    """Every class by its id, the one to look at first first: by AP, else by its doubts."""
    scores = {n: ap for n, c in enumerate(facts.classes) if (ap := _ap(facts, c.name)) is not None}

    def key(n: int) -> tuple[bool, float, bool, bool, float, int]:
        c = facts.classes[n]
        few = c.kept < _FEW_INSTANCES
        return n not in scores, scores.get(n, 0.0), not c.kept, few, -c.mean_doubt, n

    return sorted(range(len(facts.classes)), key=key)


def headline(facts: Facts, unfinished: str, drift: Drift | None) -> Headline:
    """Build it; `unfinished` says why the records are not all there will be, "" if they are."""
    lines = []
    if unfinished:
        lines.append(Line("Not finished", unfinished, wrong=True))
    if facts.evaluation:
        figure, meaning = _score(facts.evaluation)
        lines += _worst(facts)
    else:
        figure = f"{facts.kept:,}"
        meaning = f"instances on {facts.frames - facts.empty_frames:,} of {facts.frames:,} frames"
        lines += _least_certain(facts)
        lines.append(
            Line("Score", "none yet", command=command("evaluate", facts.places, "truth=FILE"))
        )
    said = f"{facts.failed:,} of {facts.items:,} items" if facts.failed else "nothing"
    lines.append(Line("Failed", said, "failed" if facts.failed else "", bool(facts.failed)))
    lines += _gates(facts.gates)
    if facts.doubtful:
        said = f"{facts.doubtful:,} of {facts.frames:,} frames (doubt from {DOUBTFUL} on)"
        lines.append(Line("Look at", said, "queue"))
    if drift:
        said = f"{drift.gone:,} gone, {drift.new:,} new, {drift.renamed:,} of another class"
        lines.append(Line(f"Against {drift.against}", said, "drift"))
    return Headline(figure, meaning, lines)


def _score(evaluation: Mapping[str, Any]) -> tuple[str, str]:
    precision = evaluation["average_precision"]
    kind = "segm" if "segm" in precision else "bbox"
    others = []
    if kind == "segm":
        others.append(f"box AP {_share(precision['bbox']['ap'])}")
    if evaluation.get("tracks"):
        others.append(f"HOTA {_share(evaluation['tracks']['hota'])}")
    rates = evaluation["rates"]
    others += [f"{name} {_share(rates[name])}" for name in ("precision", "recall")]
    name = "mask AP" if kind == "segm" else "box AP"
    return _share(precision[kind]["ap"]), f"{name}; {', '.join(others)}"


def _worst(facts: Facts) -> list[Line]:
    """The judged class of the lowest AP, and what becomes of its objects."""
    evaluation = facts.evaluation or {}
    scores = {name: ap for name in evaluation["classes"] if (ap := _ap(facts, name)) is not None}
    if not scores:
        return []
    objects = {name: evaluation["classes"][name]["rates"]["objects"] for name in scores}
    name = min(scores, key=lambda n: (objects[n] < _FEW_OBJECTS, scores[n]))
    rates = evaluation["classes"][name]["rates"]
    said = (
        f"{name}: AP {scores[name]:.3f}, {rates['right']:,} of {rates['objects']:,} objects found"
    )
    if extra := rates["found"] - rates["right"]:
        said += f", {extra:,} finds wrong"
    if taken := _taken_for(evaluation, name):
        said += f"; taken for {taken}"
    lines = [Line("Worst class", said, _anchor(facts, name))]
    if rare := sum(objects[n] < _FEW_OBJECTS and scores[n] < scores[name] for n in scores):
        said = f"{rare:,} with fewer than {_FEW_OBJECTS} objects in the truth"
        lines.append(Line("Worse, but rare", said, "evaluation"))
    return lines


def _taken_for(evaluation: Mapping[str, Any], name: str) -> str:
    """The other class that most objects of a class were found as, with how many; "" if none."""
    names: Sequence[str] = evaluation["confusion_names"][:-1]
    if name not in names:
        return ""
    at = names.index(name)
    row = evaluation["confusion"][at]
    times, other = max(((row[n], -n) for n in range(len(names)) if n != at), default=(0, 0))
    return f"{names[-other]} {times:,} times" if times else ""


def _least_certain(facts: Facts) -> list[Line]:
    for n in classes_by_need(facts)[:1]:
        c = facts.classes[n]
        if c.mean_doubt > 0:
            said = f"{c.name}: {c.doubtful:,} of {c.kept:,} instances are doubtful"
            return [Line("Least certain class", said, _anchor(facts, c.name))]
    return []


def _gates(gates: Sequence[Mapping[str, Any]]) -> list[Line]:
    failed = [g for g in gates if not g["passed"]]
    if failed:
        said = "; ".join(
            f"{g['name']} is {g['value']:g}, the limit is {g['limit']:g}" for g in failed
        )
        return [Line("Gates failed", said, wrong=True)]
    return [Line("Gates", f"{len(gates)} of {len(gates)} passed")] if gates else []


def _anchor(facts: Facts, name: str) -> str:
    """Where the page shows the surest and the least sure of a class."""
    return next((f"class-{n}" for n, c in enumerate(facts.classes) if c.name == name), "classes")


def _ap(facts: Facts, name: str) -> float | None:
    """Of masks, else of boxes; None where the class was not judged."""
    classes: Mapping[str, Any] = (facts.evaluation or {}).get("classes", {})
    precision = classes.get(name, {}).get("average_precision", {})
    ap = precision.get("segm", precision.get("bbox", {})).get("ap")
    return None if ap is None else float(ap)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
