"""What the settings of a fleet lead to: when its items are done, and what it may cost. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from fleet.decision.estimates import time_left
from fleet.decision.values import Decision, Policy, Snapshot, Start

HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """When all items that wait now would be done, and what that would cost."""

    left: timedelta
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The most that the limits let a fleet spend in USD. None: no limit."""

    hourly_usd: Decimal | None
    daily_usd: Decimal | None


def done(seen: Snapshot, decision: Decision) -> Done | None:
    """The end of the backlog with the pods after this decision, if they work as those that run now.

    None if nobody knows: no depth, no pod, or no pod that has shown its speed.
    """
    speeds = [p.items_per_second for p in seen.active if p.items_per_second]
    if not speeds or not decision.target or not seen.depth:
        return None
    left = time_left(seen.depth, sum(speeds) / len(speeds) * decision.target)
    if left is None:
        return None
    leaving = {r.pod_id for r in decision.retire}
    prices = [p.hourly_usd for p in seen.active if p.pod_id not in leaving]
    starts: list[Start] = [*decision.spawn, *decision.resume]
    prices += [start.hourly_usd for start in starts]
    hours = Decimal(left.total_seconds()) / 3600
    return Done(left=left, cost_usd=sum(prices, Decimal(0)) * hours)


def worst(policy: Policy, *, top_price_usd: Decimal | None) -> Worst:
    """The most that the limits allow; `top_price_usd`: that of one pod, None: any price."""
    by_pods = None if top_price_usd is None else policy.max_instances * top_price_usd
    of_all = policy.installation
    hourly = _least((policy.max_hourly_usd, of_all.max_hourly_usd, by_pods))
    a_day = None if hourly is None else hourly * HOURS_A_DAY
    budgets = (policy.daily_budget_usd, policy.total_budget_usd, of_all.daily_budget_usd)
    return Worst(hourly_usd=hourly, daily_usd=_least((*budgets, a_day)))


def _least(limits: Iterable[Decimal | None]) -> Decimal | None:
    return min((limit for limit in limits if limit is not None), default=None)
