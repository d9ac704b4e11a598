"""Which items go to the handler in one call: by cost, and by what fits into memory. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

# For so many calls items are given to the handler's process at once, if the handler knows their cost.
# They are sorted before they are divided, so items of a call have about the same length. With 8 calls
# about an eighth of the padding is left.
CALLS_AHEAD = 8
# A call ends where its items, padded to the longest, would cost more than so many times what they cost
# alone. Few items of random lengths are then divided into calls that are worth it. Of 512 sorted items
# it divides only the shortest ones.
MOST_PADDING = 1.5


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one call may have. 0: no limit.

    The cost of a call is the number of its items times the largest cost among them, because models pad
    short items to the length of the longest one.
    """

    items: int = 0
    cost: float = 0.0

    def allow(self, items: int, largest: float) -> bool:
        """Whether so many items, of which the dearest costs `largest`, may go together.

        One item alone goes in any case: `formed` does not ask.
        """
        few = not self.items or items <= self.items
        return few and (not self.cost or items * largest <= self.cost)

    def halved(self, costs: Sequence[float]) -> "Limits":
        """The limits after a call with these items did not fit into the GPU's memory.

        Costs are limited where they are known, so that short items still go in large calls.
        """
        largest = max(costs, default=0.0)
        if largest > 0:
            return replace(self, cost=len(costs) * largest / 2)
        return replace(self, items=max(1, len(costs) // 2))


def formed(places: Sequence[int], costs: Sequence[float], limits: Limits) -> list[list[int]]:
    """The items of each call, as places in `costs`. The dearest ones are first.

    So a call that is too large shows before most of the work is done.
    """
    if not any(costs) and limits.allow(len(places), 0.0):
        return [list(places)] if places else []
    calls: list[list[int]] = []
    largest = alone = 0.0
    for place in sorted(places, key=lambda place: -costs[place]):
        items = len(calls[-1]) + 1 if calls else 1
        padded = items * largest > MOST_PADDING * (alone + costs[place])
        if not calls or padded or not limits.allow(items, largest):
            calls.append([])
            largest, alone = costs[place], 0.0
        calls[-1].append(place)
        alone += costs[place]
    return calls
