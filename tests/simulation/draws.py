"""The random draws of one seed, and the history that is printed when an invariant breaks."""

import uuid
from collections.abc import Collection, Iterator
from random import Random

from pods.base.clock import utcnow


class Draws:
    """One seed gives one history. Faults are numbered from 1 on."""

    def __init__(self, seed: int, *, left_out: Collection[int] = ()) -> None:
        """`left_out`: the numbers of the faults that do not happen."""
        self.seed, self.left_out = seed, frozenset(left_out)
        self.random = Random(seed)
        self.faults_on = True
        self.fault_rate = 1.0  # multiplies the chance of each fault
        self.fault_numbers, self.faults = 0, 0  # a fault that is left out has a number too
        self.history: list[str] = []

    def occurs(self, chance: float, what: str) -> Random | None:
        """Draw whether this fault happens; return a Random for its details, else None."""
        if not self.faults_on or self.random.random() >= chance * self.fault_rate:
            return None
        self.fault_numbers += 1
        if self.fault_numbers in self.left_out:
            return None
        self.faults += 1
        self.record(f"#{self.fault_numbers} {what}")
        return Random(self.seed * 1_000_003 + self.fault_numbers)

    def record(self, what: str) -> None:
        """Add a line to the history."""
        self.history.append(f"{utcnow():%d %H:%M:%S} {what}")


def ids_of(random: Random) -> Iterator[uuid.UUID]:
    """The ids that a process makes, as the draws give them."""
    while True:
        yield uuid.UUID(int=random.getrandbits(128))
