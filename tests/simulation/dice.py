"""Rolls the dice of one seed, and keeps the story that a person reads when an invariant breaks."""

from collections.abc import Collection
from random import Random

from pods.base.clock import utcnow


class Dice:
    """One seed is one history. Each fault has a number, from 1 on; those that are spared stay away."""

    def __init__(self, seed: int, *, spared: Collection[int] = ()) -> None:
        """`spared` are the numbers of the faults that are left out."""
        self.seed, self.spared = seed, frozenset(spared)
        self.random = Random(seed)
        self.faulty, self.fury = True, 1.0  # fury: how many times likelier a fault is
        self.numbers, self.faults = 0, 0  # the spared ones are among the numbers alone
        self.story: list[str] = []

    def strikes(self, share: float, what: str) -> Random | None:
        """Dice of its own for a fault that happens, else None."""
        if not self.faulty or self.random.random() >= share * self.fury:
            return None
        self.numbers += 1
        if self.numbers in self.spared:
            return None
        self.faults += 1
        self.say(f"#{self.numbers} {what}")
        return Random(self.seed * 1_000_003 + self.numbers)

    def say(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{utcnow():%d %H:%M:%S} {what}")
