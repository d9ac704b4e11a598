"""What a fleet pays to finish by a deadline on recorded spot markets, against the least possible."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.spot import forecasts
from benchmarks.spot.bound import least_usd
from benchmarks.spot.fleets import BEGAN, by_deadline, policy_of, within_budget
from benchmarks.spot.recordings import OURS, SPOT_USD, Episode, episodes, read
from benchmarks.spot.rivals import RIVALS
from benchmarks.spot.world import BOOT_MINUTES, PODS, play
from fleet.decision.decide import decide
from fleet.decision.values import Goal, OfferFacts, PodFacts, Snapshot
from pods.states import READY

EACH: Final = 5  # episodes of every market, slack and amount of work
PRODUCT: Final = "podfleet"
GRACE_MINUTES: Final = 24 * 60  # after the deadline, until an episode is given up
BUDGETS: Final = (1.1, 1.25, 1.6, 2.5)  # times the price of the work on interruptible pods
FORECASTS: Final = 12  # of every market
MANY: Final = 64  # pods of the timed decision


def run(console: Console, *, quick: bool, traces: Path | None = None) -> dict[str, Any]:
    """Play every episode with each policy, and some with a budget."""
    recorded = read(traces or OURS)
    drawn = episodes(recorded, each=1 if quick else EACH)
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        played = list(pool.map(_played, drawn, chunksize=4))
        short = [e for e in drawn if e.hours == 6.0 and e.slack in {1.1, 2.0}]
        spent = list(pool.map(_spent, short, chunksize=4))
        some = forecasts.some_of(drawn, each=1 if quick else FORECASTS)
        checked = list(pool.map(forecasts.check, some, chunksize=2))
    result: dict[str, Any] = {
        "name": "deadline",
        "recordings": sorted(recorded),
        "episodes": len(drawn),
        "seconds": round(time.perf_counter() - began, 1),
        "policies": {name: _summary([p[name] for p in played]) for name in (PRODUCT, *RIVALS)},
        "several_zones": _summary(
            [p[PRODUCT] for p, e in zip(played, drawn, strict=True) if len(e.zones) > 1]
        ),
        "budget": _budgets([one for each in spent for one in each]),
        "forecast": forecasts.summary(checked),
        "decide_64_pods_us": round(_timed(), 1),
    }
    _print(console, result)
    return result


Ratio = tuple[float, bool]  # cost ÷ the least possible, and whether the deadline was missed


def _played(episode: Episode) -> dict[str, Ratio]:
    least = least_usd(episode, pods=PODS, boot_minutes=BOOT_MINUTES)
    horizon = episode.deadline_minutes + GRACE_MINUTES
    found: dict[str, Ratio] = {}
    for name, acts in (
        (PRODUCT, by_deadline(episode.deadline_minutes)),
        *((name, rival()) for name, rival in RIVALS.items()),
    ):
        outcome = play(episode, acts, horizon=horizon)
        missed = outcome.minutes is None or outcome.minutes > episode.deadline_minutes + 1e-6
        found[name] = (outcome.cost / least, missed)
    return found


def _spent(episode: Episode) -> list[tuple[float, bool, bool]]:
    """For each budget: its share that was spent, whether it was overspent, whether all was done."""
    found = []
    for times in BUDGETS:
        budget = round(times * episode.hours * PODS * SPOT_USD, 2)
        outcome = play(episode, within_budget(budget), horizon=14 * 24 * 60)
        found.append((times, outcome.cost > budget + 1e-9, outcome.minutes is not None))
    return found


def _summary(ratios: Sequence[Ratio]) -> dict[str, Any]:
    costs = np.array([cost for cost, _ in ratios])
    if not len(costs):
        return {}
    return {
        "median": round(float(np.median(costs)), 3),
        "mean": round(float(costs.mean()), 3),
        "p95": round(float(np.quantile(costs, 0.95)), 3),
        "worst": round(float(costs.max()), 3),
        "missed": sum(missed for _, missed in ratios),
    }


def _budgets(spent: Sequence[tuple[float, bool, bool]]) -> dict[str, Any]:
    finished = {
        f"finished_at_{times:g}": round(
            float(np.mean([done for t, _, done in spent if t == times])), 3
        )
        for times in BUDGETS
    }
    return {"episodes": len(spent), "overspent": sum(over for _, over, _ in spent), **finished}


def _timed() -> float:
    """Microseconds of CPU for a decision with many interruptible pods, and offers of both kinds."""
    dear, cheap = Decimal("3.06"), Decimal("0.92")
    pods = tuple(
        PodFacts(
            pod_id=n, state=READY, hourly_usd=cheap, age=timedelta(hours=n), in_flight=4,
            items_per_second=10.0, ready_for=timedelta(hours=n), interruptible=True, offer_key="1",
        )
        for n in range(MANY)
    )  # fmt: skip
    offers = tuple(
        OfferFacts(account_id=0, key=key, hourly_usd=usd, interruptible=key == "1")
        for key, usd in (("1", cheap), ("0", dear))
    )
    seen = Snapshot(
        now=BEGAN, depth=10**8, pods=pods, offers=tuple(o for o in offers for _ in range(MANY)),
        items_per_second=640.0, boot_time=timedelta(minutes=5), usual_items_per_second=10.0,
        spot_hourly_usd=cheap,
    )  # fmt: skip
    goal = replace(
        policy_of(Goal.DEADLINE, drain_by=BEGAN + timedelta(hours=60)),
        max_instances=MANY,
        max_hourly_usd=dear * MANY,
    )
    times = []
    for _ in range(5):
        fresh = [replace(seen) for _ in range(100)]  # nothing is worked out yet
        began = time.process_time()
        for one in fresh:
            decide(one, goal)
        times.append((time.process_time() - began) / len(fresh) * 1e6)
    return min(times)


def _print(console: Console, result: dict[str, Any]) -> None:
    table = Table("policy", "median", "mean", "95 %", "worst", "deadlines missed")
    for name, found in (
        *result["policies"].items(),
        ("podfleet, zones together", result["several_zones"]),
    ):
        if found:
            table.add_row(
                name, *(str(found[key]) for key in ("median", "mean", "p95", "worst", "missed"))
            )
    console.print(f"Cost ÷ the least possible, {result['episodes']} episodes of {PODS} pods")
    console.print(table)
    console.print(f"Budgets: {result['budget']}")
    console.print(
        "Forecasts: shares of the outcomes within what was said to hold nine times out of ten"
    )
    table = Table("market", "forecasts", "cost", "done", "bound ÷ cost", "seconds", "slowest")
    names = ("episodes", "cost_within", "done_within", "bound_to_cost", "seconds", "slowest")
    for name, found in result["forecast"].items():
        table.add_row(name, *(str(found.get(key, "–")) for key in names))
    console.print(table)
