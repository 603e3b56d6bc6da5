"""Command lines about a run, ready for a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def command(word: str, places: Sequence[str], *more: str) -> str:
    """`annotate WORD run=PLACES MORE...`, each argument quoted for a shell where it needs to be."""
    run = places[0] if len(places) == 1 else f"[{','.join(map(_entry, places))}]"
    if (len(places) == 1 and run == "null") or run[0] in "'\"[{$~":
        run = f"./{run}" if len(places) == 1 else run  # else it reads as something else than a path
    return shlex.join(["annotate", word, f"run={run}", *more])


def made_by(asked: Mapping[str, Any], places: Sequence[str], settings: Sequence[str]) -> str:
    """The command that goes on with a run: what its folder keeps of the one that made it.

    Of a glob or a single file it keeps the folder alone. `settings` are arguments that compose to
    what was asked.
    """
    dataset, kind = asked["dataset"]["root"], asked.get("kind", "auto")
    more = list(settings) if kind in ("auto", "demo") else [f"dataset.kind={kind}", *settings]
    return shlex.join(
        [
            "annotate",
            f"dataset={dataset}",
            f"prompts={places[0]}/classes.yaml",
            f"out={places[0]}",
            *more,
        ]
    )


def settings_of(asked: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The preset that is nearest to what was asked, and each setting that differs from it.

    `presets` are the sections of composed configs that decide records, by name of the preset.
    """

    def differing(composed: Mapping[str, Any]) -> list[str]:
        return [
            f"{section}.{key}={_value(value)}"
            for section, composed_keys in composed.items()
            if isinstance(said := asked.get(section), Mapping)
            for key, value in said.items()
            if key not in composed_keys or composed_keys[key] != value
        ]

    found = {name: differing(composed) for name, composed in presets.items()}
    nearest = min(found, key=lambda name: len(found[name]), default=None)
    return [f"models={nearest}", *found[nearest]] if nearest else []


def _value(value: Any) -> str:
    """A setting in Hydra's grammar."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./:-]*", value, re.ASCII)
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _entry(place: str) -> str:
    """A path as an entry of a list in Hydra's grammar."""
    if re.fullmatch(r"[\w./-]+", place, re.ASCII):
        return place
    return "'" + place.replace("'", "\\'") + "'"
