"""How large a call may be for the GPU's memory: found here, or taken over from another pod. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pods.agent.forming import Limits

# After so many calls of about the largest size, a limit that another process found is doubled. Another
# program may have had a part of that GPU's memory. One failed call among 256 costs less than 1 %.
CALLS_BEFORE_GROWTH = 256
# A limit is forgotten so long after it was written: whatever made it too small may be over.
KEPT_MS = 7 * 24 * 3600 * 1000
LARGEST_ITEMS = 10**9
LARGEST_COST = 1e18
NO_LIMITS = Limits()
# Clocks of two servers may differ a little after a failover.
SLACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Fitting:
    """What one process of a handler knows about the size of its calls.

    `found_here`: a call of twice this size failed in this process. `proven`: a call of about this size
    fitted after that. `calls` and `largest_cost`: of the calls of about this size that fitted since the
    limits were taken over.
    """

    limits: Limits = NO_LIMITS
    found_here: bool = False
    proven: bool = False
    calls: int = 0
    largest_cost: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a call that fits would change something."""
        return not self.proven and self.limits != NO_LIMITS

    def too_large(self, costs: Sequence[float]) -> "Fitting":
        """What is known after a call with these items did not fit."""
        less = Limits().halved(costs)
        limits = Limits(less.items or self.limits.items, less.cost or self.limits.cost)
        return Fitting(limits, found_here=True)

    def fitted(self, items: int, largest: float) -> "Fitting":
        """What is known after a call fitted that has so many items; `largest`: the largest cost of one.

        A call of at most half the limit shows nothing.
        """
        cost = items * largest
        is_near = 2 * items > self.limits.items > 0 or 2 * cost > self.limits.cost > 0
        if not is_near:
            return self
        if self.found_here:
            return replace(self, proven=True)
        largest_cost = max(self.largest_cost, cost)
        if self.calls + 1 < CALLS_BEFORE_GROWTH:
            return replace(self, calls=self.calls + 1, largest_cost=largest_cost)
        # an item that is alone may cost more than the limit
        grown = 2 * max(self.limits.cost, largest_cost) if self.limits.cost else 0.0
        return Fitting(Limits(2 * self.limits.items, grown))


def smaller(one: Limits, other: Limits) -> Limits:
    """What both allow."""
    items = [limits.items for limits in (one, other) if limits.items]
    costs = [limits.cost for limits in (one, other) if limits.cost]
    return Limits(min(items, default=0), min(costs, default=0.0))


def written(limits: Limits, now_ms: int) -> bytes:
    """The value that Redis keeps: items, cost and the server's time in ms. 0: no limit."""
    return f"{limits.items} {limits.cost!r} {now_ms}".encode()


def parsed(raw: bytes, now_ms: int) -> Limits:
    """The limits in a value of Redis. No limits where it is missing, too old, or nonsense.

    A pod may be anybody's machine, so a number that cannot be calculated with counts as nonsense.
    """
    try:
        items, cost, at_ms = raw.decode("ascii").split(" ")
        limits = Limits(int(items), float(cost))
        age_ms = now_ms - int(at_ms)
    except ValueError:  # also of bytes that are not ASCII
        return NO_LIMITS
    makes_sense = 0 <= limits.items <= LARGEST_ITEMS and 0 <= limits.cost <= LARGEST_COST
    # these comparisons also refuse nan
    return limits if makes_sense and -SLACK_MS <= age_ms <= KEPT_MS else NO_LIMITS
