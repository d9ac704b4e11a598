"""Handlers of the benchmark of the agent."""

from collections.abc import Sequence
from typing import Final

from pods.agent.handlers import Item, Result
from pods.agent.handlers.pace import Pace, each_batch

FAST_RATE: Final = 10_000.0
# Enough to make up for a sleep that ended late, and too little to make up for a wait for the link.
CATCH_UP_SECONDS: Final = 0.01

fast: Final = Pace(FAST_RATE, longest_catch_up=CATCH_UP_SECONDS)
_failed: Final[set[str]] = set()


def fails_a_third_at_first(batch: Sequence[Item]) -> Sequence[Result]:
    """Fails each third item the first time."""
    fails = [int(item.id) % 3 == 0 and item.entry not in _failed for item in batch]
    _failed.update(item.entry for item, fail in zip(batch, fails, strict=True) if fail)
    results = each_batch(batch)
    return [ValueError("no") if fail else r for fail, r in zip(fails, results, strict=True)]
