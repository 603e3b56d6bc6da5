"""The configs that come with the package, and the classes that configs name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml


def conf_dir() -> Path:
    """The shipped configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def default_formats() -> set[str]:
    """The formats whose options are there without being asked for."""
    listed = yaml.safe_load((conf_dir() / "export" / "default.yaml").read_text(encoding="utf-8"))
    nodes = [node for node in listed["defaults"] if isinstance(node, dict)]
    return {name for node in nodes for name in node.values()}


def named_targets(group: str, folders: Sequence[str] = ()) -> set[str]:
    """The classes that the configs of a group name: the shipped ones, and those of `folders`."""
    named = set()
    for place in (conf_dir(), *map(Path, folders)):
        for path in (place / group).glob("*.yaml"):
            node = yaml.safe_load(path.read_text(encoding="utf-8"))
            if isinstance(node, dict) and isinstance(node.get("_target_"), str):
                named.add(node["_target_"])
    return named
