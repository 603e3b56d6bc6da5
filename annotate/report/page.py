"""Facts and pictures as one HTML page that needs nothing else, and no network.

Its script only sorts tables and moves a threshold: without it everything but that is there. The
page allows itself its own style and script, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from annotate.data.printable import printable
from annotate.evaluate import uncertainty
from annotate.report import sweep
from annotate.report.commands import command
from annotate.report.confusion import confusion
from annotate.report.drift import ClassDrift, Drift
from annotate.report.facts import LENGTH_EDGES, SCORE_EDGES, SIZE_EDGES, ClassFacts, Facts
from annotate.report.headline import classes_by_need, headline
from annotate.report.pictures import Sheets
from annotate.report.timelines import COLUMNS, Timelines

LISTED_CLASSES: Final = 1250
LISTED_PHRASES: Final = 300
_SPARK: Final = (100, 20)  # width and height of a row of bars


@dataclass(frozen=True, slots=True)
class Made:
    """The commands that made a run and this page, and why the run is unfinished ("": it is not)."""

    run: str
    report: str
    unfinished: str


def render(
    facts: Facts, sheets: Sheets, drift: Drift | None, lines: Timelines | None, made: Made
) -> str:
    """The page; everything that comes from names and files is escaped."""
    environment = Environment(
        loader=PackageLoader("annotate.report", "template"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": _share,
        "count": _count,
        "yaml": _yaml,
        "percent": _percent,
        "spark": _spark,
        "runs": _runs,
    }
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style, script = _part("page.css"), _part("page.js")
    # Those to look at first, in the order of the class list.
    listed = sorted(classes_by_need(facts)[:LISTED_CLASSES])
    return environment.get_template("page.html.j2").render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        facts=facts,
        head=headline(facts, made.unfinished, drift),
        sheets=sheets,
        drift=drift,
        drifted=_most_drifted(drift) if drift else (),
        lines=lines,
        columns=COLUMNS,
        made=made,
        command=lambda word, *more: command(word, facts.places, *more),
        listed=[(n, facts.classes[n]) for n in listed],
        phrases=facts.phrases[:LISTED_PHRASES],
        idle=sum(not recorded for *_, recorded in facts.phrases),
        judged=_judged(facts, listed),
        confusion=confusion(facts.evaluation) if facts.evaluation else None,
        moved=_moved(facts),
        sweep=sweep.for_script(facts, listed),
        steps=sweep.totals(facts),
        first_step=sweep.first_step(facts),
        meanings=uncertainty.MEANINGS,
        size_bins=_between(SIZE_EDGES * 100, "%"),
        length_bins=_lengths(),
    )


def _part(name: str) -> str:
    return files("annotate.report").joinpath("template", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> Markup:
    """A content security policy that lets this style and this script alone be."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for text in (style, script)
    )
    return Markup(
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; "
        f"script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'"
    )


def _judged(facts: Facts, listed: Sequence[int]) -> dict[str, Any]:
    """The scores of the listed classes by name."""
    scores = facts.evaluation["classes"] if facts.evaluation else {}
    if len(scores) <= len(listed):
        return dict(scores)
    names = [facts.classes[n].name for n in listed]
    return {name: scores[name] for name in names if name in scores}


def _most_drifted(drift: Drift) -> list[ClassDrift]:
    """The classes whose counts changed most, in the order of the class list."""
    order = sorted(drift.classes, key=lambda c: -abs(c.now - c.before))[:LISTED_CLASSES]
    shown = {c.name for c in order}
    return [c for c in drift.classes if c.name in shown]


def _moved(facts: Facts) -> list[str]:
    """The classes that were judged at another threshold than that of this page."""
    judged = (facts.evaluation or {}).get("thresholds", {})
    return [
        c.name for c in facts.classes if abs(judged.get(c.name, c.threshold) - c.threshold) > 1e-6
    ]


def _shown(value: Any) -> Any:
    """Text from names and files, which may hold what hides or turns around what it says."""
    return printable(value) if type(value) is str else value  # Markup is ours


def _share(value: Any) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _count(value: int) -> str:
    return f"{value:,}"


def _yaml(value: Any) -> Markup:
    return escape(yaml.safe_dump(value, allow_unicode=True, sort_keys=False).rstrip())


def _spark(of: ClassFacts) -> Markup:
    """The scores of a class as bars: one path of those below its threshold, and one of the rest."""
    width, height = _SPARK
    step = width / len(of.scores)
    most = max([*of.scores, 1])
    paths = {"off": "", "on": ""}
    for n, count in enumerate(of.scores):
        if count:
            tall = max(1.0, height * count / most)
            kind = "off" if (SCORE_EDGES[n] + SCORE_EDGES[n + 1]) / 2 < of.threshold else "on"
            paths[kind] += f"M{n * step:g} {height}v-{tall:.1f}h{step - 0.7:g}v{tall:.1f}z"
    return Markup("".join(f'<path class="{k}" d="{d}"/>' for k, d in paths.items() if d))


def _runs(runs: Sequence[tuple[int, int]]) -> str:
    """Where a track is in sight, as a path along the middle of a row."""
    return "".join(f"M{left} 6H{right}" for left, right in runs)


def _between(edges: Any, unit: str) -> list[str]:
    pairs = itertools.pairwise(edges)
    return [f"{low:g} to {high:g} {unit}" for low, high in pairs]


def _lengths() -> list[str]:
    names = []
    for low, high in itertools.pairwise(LENGTH_EDGES):
        if math.isinf(high):
            names.append(f"{low:g} or more frames")
        else:
            names.append(f"{low:g} to {high - 1:g} frames" if high - low > 1 else "1 frame")
    return names
