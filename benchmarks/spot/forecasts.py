"""How often the forecast of a fleet with a deadline holds, on recorded spot markets."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import numpy as np

from benchmarks.spot.fleets import BEGAN, by_deadline, facts_at_start, policy_of
from benchmarks.spot.recordings import WEEK_MINUTES, Episode, Minutes
from benchmarks.spot.world import play
from fleet.decision.outlook import outlook
from fleet.decision.spells import History, OfferKind, Spell, Stretch
from fleet.decision.values import Goal, OfferFacts

GRACE_MINUTES: Final = 24 * 60
LONGEST_HOURS: Final = 12.0  # of work; longer episodes take longer and say the same
DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One forecast, and what became of it."""

    market: str
    cost_held: bool  # the episode cost no more than "at most"
    time_held: bool  # it was done by "nine times out of ten"
    bound: float  # "at most" ÷ the cost of the episode
    seconds: float  # of processor time


def some_of(episodes: Iterable[Episode], *, each: int) -> list[Episode]:
    """As many of every market, at even distances, with a whole week recorded before them."""
    found: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        whole = all(len(zone) == WEEK_MINUTES for zone in episode.before)
        if whole and episode.hours <= LONGEST_HOURS:
            found[_market(episode)].append(episode)
    return [
        episode for own in found.values() for episode in own[:: max(1, len(own) // each)][:each]
    ]


def check(episode: Episode) -> Checked:
    """Forecast an episode from its first minute and the week before it, then play it."""
    end = BEGAN + timedelta(minutes=episode.deadline_minutes)
    began = time.process_time()
    told = outlook(
        facts_at_start(episode), policy_of(Goal.DEADLINE, drain_by=end), _history(episode)
    )
    seconds = time.process_time() - began
    horizon = episode.deadline_minutes + GRACE_MINUTES
    outcome = play(episode, by_deadline(episode.deadline_minutes), horizon=horizon)
    done = None if outcome.minutes is None else BEGAN + timedelta(minutes=outcome.minutes)
    return Checked(
        market=_market(episode),
        cost_held=outcome.cost <= float(told.sure_usd) + 1e-9,
        time_held=told.sure_at is None or (done is not None and done <= told.sure_at),
        bound=float(told.sure_usd) / outcome.cost,
        seconds=seconds,
    )


def summary(checked: Sequence[Checked]) -> dict[str, Any]:
    """By market: how many forecasts held, and how far above the cost "at most" was."""
    by_market: dict[str, list[Checked]] = defaultdict(list)
    for one in checked:
        by_market[one.market].append(one)
    return {name: _shares(own) for name, own in by_market.items()} | {"all": _shares(checked)}


def _shares(checked: Sequence[Checked]) -> dict[str, Any]:
    if not checked:
        return {"episodes": 0}
    return {
        "episodes": len(checked),
        "cost_within": round(float(np.mean([c.cost_held for c in checked])), 3),
        "done_within": round(float(np.mean([c.time_held for c in checked])), 3),
        "bound_to_cost": round(float(np.median([c.bound for c in checked])), 2),
        "seconds": round(float(np.mean([c.seconds for c in checked])), 2),
        "slowest": round(max(c.seconds for c in checked), 2),
    }


def _market(episode: Episode) -> str:
    return episode.zones[0] if len(episode.zones) == 1 else "together"


def _history(episode: Episode) -> History:
    """What surveys each minute would have recorded of the zones."""
    kinds = [OfferKind(0, "", 0, zone, True) for zone in episode.zones]
    return History(
        days=len(episode.before[0]) / DAY_MINUTES,
        stretches={
            kind: [_spells(before)] for kind, before in zip(kinds, episode.before, strict=True)
        },
        absent=[
            OfferFacts(
                account_id=0, key=str(n), region=kind.region, interruptible=True,
                hourly_usd=Decimal(str(round(episode.prices[n], 6))),
            )
            for n, kind in enumerate(kinds)
            if not episode.up[n][0]
        ],
    )  # fmt: skip


def _spells(up: Minutes) -> Stretch:
    changes = np.flatnonzero(np.diff(up.astype(np.int8)) != 0) + 1
    at = [0, *changes.tolist(), len(up)]
    return [
        Spell(bool(up[began]), (ended - began) / 60)
        for began, ended in pairwise(at)
        if ended > began
    ]
