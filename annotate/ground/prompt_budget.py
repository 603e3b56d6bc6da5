"""Class lists longer than a prompt may be, cut into as few as need be."""

from __future__ import annotations

from collections.abc import Sequence


def evenly_filled(costs: Sequence[int], budget: int, *, most: int | None = None) -> list[list[int]]:
    """Positions of costs, in their order, in as few groups as the budget allows, evenly filled.

    Scores depend a little on what else is in a prompt, so prompts of like length treat classes
    alike. No cost may exceed the budget; `most` limits how many are in a group.
    """
    if most is not None:
        groups = -(-len(costs) // most)
        most = -(-len(costs) // groups)
    fewest = len(_filled(costs, budget, most))
    low, high = max(costs), budget
    while low < high:  # the smallest cap that still needs no further group
        cap = (low + high) // 2
        low, high = (low, cap) if len(_filled(costs, cap, most)) <= fewest else (cap + 1, high)
    return _filled(costs, low, most)


def _filled(costs: Sequence[int], cap: int, most: int | None) -> list[list[int]]:
    groups: list[list[int]] = []
    room = 0
    for position, cost in enumerate(costs):
        if not groups or cost > room or len(groups[-1]) == most:
            groups.append([])
            room = cap
        groups[-1].append(position)
        room -= cost
    return groups
