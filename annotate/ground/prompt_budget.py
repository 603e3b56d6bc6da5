"""Class lists longer than a prompt may be, cut into as few as need be."""

from __future__ import annotations

from collections.abc import Sequence


def evenly_filled(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of costs, in their order, in as few groups as the budget allows, evenly filled.

    Scores depend a little on what else is in a prompt, so prompts of like length treat classes
    alike. No cost may exceed the budget.
    """
    fewest = len(_filled(costs, budget))
    low, high = max(costs), budget
    while low < high:  # the smallest cap that still needs no further group
        cap = (low + high) // 2
        low, high = (low, cap) if len(_filled(costs, cap)) <= fewest else (cap + 1, high)
    return _filled(costs, low)


def _filled(costs: Sequence[int], cap: int) -> list[list[int]]:
    groups: list[list[int]] = []
    room = 0
    for position, cost in enumerate(costs):
        if not groups or cost > room:
            groups.append([])
            room = cap
        groups[-1].append(position)
        room -= cost
    return groups
