"""The least that anybody who knows the future pays for an episode."""

from typing import Final

import numpy as np

from benchmarks.spot.recordings import FIRM_USD, Episode

LOWEST: Final = -1e18
GRID: Final = 24
ROUNDS: Final = 4


def least_usd(episode: Episode, *, pods: int, boot_minutes: int) -> float:
    """A cost in USD that no policy beats: the Lagrangian dual of the schedule of one place.

    Each multiplier gives a valid bound; the best of a refined grid is taken. Boots are billed and do
    no work. Ramp, drain and ticks are left out. A place changes only where an offer begins or
    ends, because there an optimal one does.
    """
    hours, up = _segments(episode)
    prices = np.array([*episode.prices, FIRM_USD])[:, None]
    boot, best = boot_minutes / 60, 0.0
    low, high = 0.3, 60.0
    for _ in range(ROUNDS):
        grid = np.exp(np.linspace(np.log(low), np.log(high), GRID))
        off = np.zeros(GRID)
        on = np.full((len(prices), GRID), LOWEST)
        for n in range(len(hours) - 1, -1, -1):
            worth = (grid - prices) * hours[n] + np.maximum(on, off)
            on = np.where(up[:, n][:, None], worth, LOWEST)
            off = np.maximum(off, (on - grid * boot).max(axis=0))
        gain = grid * episode.hours - off
        at = int(gain.argmax())
        best = max(best, float(gain[at]))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, GRID - 1)]
    return best * pods


def _segments(episode: Episode) -> tuple[np.ndarray, np.ndarray]:
    """The hours between changes, and which offers are there in between; the last one is on demand."""
    minutes = episode.deadline_minutes
    there = np.array([zone[:minutes] for zone in episode.up])
    changes = np.flatnonzero((np.diff(there, axis=1) != 0).any(axis=0)) + 1
    at = np.concatenate(([0], changes, [minutes]))
    firm = np.ones((1, len(at) - 1), dtype=bool)
    return np.diff(at) / 60, np.concatenate((there[:, at[:-1]], firm))
