"""How many items came between recorded ticks. Pure."""

from dataclasses import dataclass

from fleet.decision.values import Snapshot


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """The items that came in each gap: the change of the depth, and what the pods did meanwhile.

    Rates are measured, so a gap may seem to have lost items; these are taken from the next gaps.
    """

    known: int | None  # the last depth that was known
    balance: float = 0.0  # items that seem to be lost, below 0
    done: float = 0.0  # items that the pods did since that depth

    def between(self, before: Snapshot, after: Snapshot) -> float:
        """The items that came between two ticks; 0 while the depth is unknown.

        The depth of a dataset falls when a part is written, so what its pods do meanwhile is not added.
        """
        if before.depth:
            self.done += (before.items_per_second or 0.0) * (after.now - before.now).total_seconds()
        if self.known is None:
            self.known = after.depth
        if after.depth is None or self.known is None:
            return 0.0
        if after.ranges is not None:
            more = max(0, after.depth - self.known)
            self.done, self.known = 0.0, after.depth
            return float(more)
        if not after.depth:
            self.done = min(self.done, float(self.known))
        self.balance += after.depth - self.known + self.done
        came = max(0.0, self.balance)
        self.balance, self.done, self.known = min(0.0, self.balance), 0.0, after.depth
        return came
