"""Yaml files that may come from anywhere: data, and no more of it than was written."""

from __future__ import annotations

from typing import Any

import yaml

MOST_CHARACTERS = 8 << 20
MOST_NODES = 1_000_000  # counted as often as aliases repeat them


def load(text: str) -> Any:
    """The value of a yaml document. Raises ValueError, with the line where one is to blame.

    Aliases are followed, but not to where a few lines stand for gigabytes.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{len(text):,} characters are more than {MOST_CHARACTERS:,}")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, set())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{at}no valid yaml ({getattr(error, 'problem', error)})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """The nodes that a node comes to when its aliases are written out."""
    if id(node) in above:
        raise ValueError(f"line {node.start_mark.line + 1}: it holds itself")
    if id(node) in known:
        return known[id(node)]
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [n for pair in node.value for n in pair]
    above.add(id(node))
    total = 1 + sum(_count(n, known, above) for n in inner)
    above.remove(id(node))
    if total > MOST_NODES:
        raise ValueError(f"line {node.start_mark.line + 1}: aliases make it too large")
    known[id(node)] = total
    return total
