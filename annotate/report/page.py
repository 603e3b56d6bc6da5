"""Facts and pictures as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

import itertools
import math
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from annotate.data.printable import printable
from annotate.evaluate import uncertainty
from annotate.report.drift import Drift
from annotate.report.facts import LENGTH_EDGES, SCORE_EDGES, SIZE_EDGES, Facts
from annotate.report.pictures import Sheets


def render(facts: Facts, sheets: Sheets, drift: Drift | None) -> str:
    """The page; everything that comes from names and files is escaped."""
    environment = Environment(
        loader=PackageLoader("annotate.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "count": _count, "yaml": _yaml, "percent": _percent}
    return environment.get_template("page.html.j2").render(
        facts=facts,
        sheets=sheets,
        drift=drift,
        meanings=uncertainty.MEANINGS,
        score_bins=[f"{low:.2f} to {low + 0.05:.2f}" for low in SCORE_EDGES[:-1]],
        size_bins=_between(SIZE_EDGES * 100, "%"),
        length_bins=_lengths(),
    )


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


def _between(edges: Any, unit: str) -> list[str]:
    pairs = itertools.pairwise(edges)
    return [f"{low:g} to {high:g} {unit}" for low, high in pairs]


def _lengths() -> list[str]:
    names = []
    for low, high in itertools.pairwise(LENGTH_EDGES):
        if math.isinf(high):
            names.append(f"{low:g} or more frames")
        else:
            names.append(f"{low:g} to {high - 1:g} frames" if high - low > 1 else f"{low:g} frames")
    return names
