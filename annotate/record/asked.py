"""What a run was asked, compared with what is asked now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from typing import Any

from annotate.errors import ConfigError
from annotate.record.versions import makes_records

SHOWN_DIFFERENCES = 5


class ChangedError(ConfigError):
    """A run folder holds records that were made otherwise than is asked now."""


# Before configs named classes there was one of each.
FIRST_TARGETS = {
    "ground": "annotate.ground.grounding_dino.GroundingDino",
    "segment": "annotate.segment.sam2.Sam2",
}

# What the first versions did not ask, and what it was then, as far as 8 bits go.
NOT_ASKED_AT_FIRST: dict[str, dict[str, Any]] = {
    "decode": {"depth": "auto"},
    "tile": {"size": None},
    "verify": {"_target_": "annotate.verify.base.NoVerifier"},
    "ground": {"child_from": 0.25, "classes_at_once": None},
}


def deciding(documents: Mapping[str, Any]) -> Any:
    """What decides the records: export thresholds and areas of classes do not.

    Nor do where the dataset lies, which may be mounted elsewhere, and a patch of this program.
    """
    asked = documents.get("config.yaml")
    if isinstance(asked, Mapping):
        asked = {key: value for key, value in asked.items() if key != "dataset"}
        asked["version"] = makes_records(str(asked.get("version")))
        named = {
            role: {"_target_": first, **asked[role]}
            for role, first in FIRST_TARGETS.items()
            if isinstance(asked.get(role), Mapping)
        }
        asked |= named
        for section, keys in NOT_ASKED_AT_FIRST.items():
            if isinstance(said := asked.get(section, {}), Mapping):
                asked[section] = {**keys, **said}
        documents = {**documents, "config.yaml": asked}
    if "classes.yaml" not in documents:
        return documents
    exporting = (
        "threshold", "min_area", "max_area", "min_aspect", "max_aspect", "colour", "veto",
    )  # fmt: skip
    classes = documents["classes.yaml"].get("classes") or []
    kept = [
        {k: _decides(k, v) for k, v in c.items() if k not in exporting}
        if isinstance(c, Mapping)
        else c
        for c in classes
    ]
    return {**documents, "classes.yaml": {"classes": kept}}


def _decides(key: str, value: Any) -> Any:
    """Of examples the pictures' names: where these lie does not matter, and weights.yaml tells
    other content apart."""
    if key == "like" and isinstance(value, list):
        return [re.split(r"[/\\]", str(text))[-1] for text in value]
    return value


def difference(before: Any, now: Any) -> str:
    """The first differences, on one line; "" where there is none."""
    found = list(islice(_differences(before, now), SHOWN_DIFFERENCES + 1))
    more = ", ..." if len(found) > SHOWN_DIFFERENCES else ""
    return "; ".join(found[:SHOWN_DIFFERENCES]) + more


def _differences(before: Any, now: Any, at: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            inner = f"{at}.{key}" if at and not at.endswith(".yaml") else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif isinstance(before, list) and isinstance(now, list):
        for index, (b, n) in enumerate(zip_longest(before, now)):
            yield from _differences(b, n, f"{at}[{index}]")
    elif before != now:
        yield f"{at}: was {_shown(before)}, is {_shown(now)}"


def _shown(value: Any) -> str:
    """A value in one short line; of a class, its name."""
    if isinstance(value, Mapping) and "name" in value:
        value = value["name"]
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
