"""Says what a fleet would have done on recordings from files, with its settings and with others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet import comparing, forecasting
from fleet.decision import goal_facts
from fleet.decision.goal_facts import USUAL_BOOT
from fleet.decision.quote import Asked, with_only, without_pods
from fleet.decision.trace import Trace, follow, priced
from fleet.decision.values import Goal, Mode, Policy, Snapshot
from fleet.decision.what_if import Course, TooLittle
from fleet.models import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the fleet has on the recordings besides its settings."""

    items: int | None = None  # at the beginning; None: its backlog, or nothing if items come
    items_per_second: float | None = None  # of one pod; None: as measured
    spot_usd: Sequence[Decimal] = field(default=())  # one for each recording of offers
    on_demand_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The course with the present settings, and with the others."""

    present: Course
    changed: Course | None  # None: no setting is another one
    seen: Snapshot  # what both began with
    items_per_second: float  # of one pod


def followed(
    fleet: Fleet, values: Mapping[str, Any], trace: Trace, wanted: Wanted, begin: datetime
) -> Followed:
    """The courses of a fleet without pods whose recording begins at this moment.

    Raises:
        ValidationError: a value is wrong, or no decision depends on any of them.
        TooLittle: the speed is unknown, nothing can be rented, or backlog and recording are empty.
        ValueError: its offer_query is wrong.
    """
    changes = comparing.policy_changes(fleet, values)
    facts = forecasting.facts_of(fleet, begin)
    seen, rate = _facts(facts, trace, wanted, begin)
    rules = replace(
        facts.policy, mode=Mode.RUNNING, installation_mode=Mode.RUNNING, override=None, sample=None
    )
    other = _with(rules, changes, seen)
    return Followed(
        present=follow(seen, _with(rules, {}, seen), trace, rate=rate),
        changed=follow(seen, other, trace, rate=rate) if changes else None,
        seen=seen,
        items_per_second=rate,
    )


def _with(rules: Policy, changes: Mapping[str, Any], seen: Snapshot) -> Policy:
    """The policy; the money of a goal counts from the beginning of the recording."""
    found = replace(rules, **changes)
    if found.goal is Goal.BUDGET:
        return replace(found, budget_from_usd=seen.spent_total_usd)
    return found


def _facts(
    facts: forecasting.Facts, trace: Trace, wanted: Wanted, begin: datetime
) -> tuple[Snapshot, float]:
    items = wanted.items
    if items is None:
        items = 0 if trace.came else facts.seen.depth
    if items is None:
        raise TooLittle(f"the backlog is unknown: {facts.seen.unknown_because}; give --items")
    if not items and not trace.came:
        raise TooLittle("the backlog is empty; give --items, or a recording of items that came")
    rate = wanted.items_per_second
    if rate is None:
        rate = goal_facts.rate_of_a_pod(facts.seen, goal_facts.groups(facts.seen))
    if not rate:
        raise TooLittle("no pod has shown its speed yet; give --items-per-second of one pod")
    seen, _ = without_pods(facts.seen, facts.history)
    own = wanted.spot_usd or wanted.on_demand_usd is not None
    seen = priced(seen, spot=wanted.spot_usd, on_demand=wanted.on_demand_usd)
    speed = rate if own or wanted.items_per_second is not None else None
    empty = with_only(seen, Asked(items=items, items_per_second=speed))
    usual = empty.usual_items_per_second or rate
    return replace(
        empty, now=begin, spent_today_usd=Decimal(0), usual_items_per_second=usual, proven=True,
        boot_time=empty.boot_time or USUAL_BOOT,
    ), rate  # fmt: skip
