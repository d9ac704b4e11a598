"""The facts from which a fleet's health is computed, out of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, Q

from fleet.decision.alert_facts import Cause
from fleet.decision.fleet_health import BudgetLeft, HealthFacts
from fleet.decision.values import Mode, Rule
from fleet.decision.windows import undecided_since
from fleet.models import Alert, Fleet, Limits, Tick
from fleet.money.spending import midnight
from pods.rules import DESTROY_PATIENCE, DESTROY_TRIES
from pods.states import BOOTING, CREATING, READY, REQUESTED, RESUMING, TERMINATING

RULES: Final[Mapping[str, Rule]] = {rule.value: rule for rule in Rule}
# The rows of a fleet's dataset that failed, alone or with their whole range; null: it has none.
DEAD_ROWS: Final = F("dataset__rows_dead")
FAILED_ROWS: Final = F("dataset__rows_failed") + DEAD_ROWS
COMING: Final = (REQUESTED, CREATING, BOOTING, RESUMING)
# Alerts that only a whole window of ticks can show; the other facts are in the last tick.
CAUSES: Final = (Cause.NO_PODS, Cause.NOT_DRAINED, Cause.BACKLOG_GROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsThere:
    """The pods of a fleet that may bill."""

    states: Mapping[str, int]
    not_gone: int = 0
    hourly_usd: Decimal = Decimal(0)
    items_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentNow:
    """What a fleet has spent; `total` is None if nobody asked for it."""

    today: Decimal
    total: Decimal | None = None


def not_gone(now: datetime) -> Q:
    """The pods that are still there after several tries to destroy them: they have an alert."""
    return Q(
        state=TERMINATING.value,
        attempts__gte=DESTROY_TRIES,
        state_since__lte=now - DESTROY_PATIENCE,
    )


def open_causes(fleets: Sequence[Fleet]) -> Mapping[int, Mapping[Cause, str]]:
    """What the open alerts say of each fleet, also the acknowledged ones. One query."""
    names = {fleet.pk: fleet.name for fleet in fleets}
    causes = [cause.value for cause in CAUSES]
    found: dict[int, dict[Cause, str]] = defaultdict(dict)
    rows = Alert.objects.open().filter(cause__in=causes, fleet__in=list(names))
    for pk, cause, text in rows.values_list("fleet_id", "cause", "text"):
        found[pk][Cause(cause)] = text.removeprefix(f"{names[pk]}: ")
    return found


def health_facts(
    fleet: Fleet,
    tick: Tick | None,
    pods: PodsThere,
    *,
    spent: SpentNow,
    limits: Limits,
    causes: Mapping[Cause, str],
    failed_rows: int | None,  # None: it is not a dataset
    dead_rows: int | None,  # of them those of dead ranges, which may be an estimate
    now: datetime,
    period: timedelta | None = None,  # between two ticks; None: it is read
) -> HealthFacts:
    """The facts of a fleet as its rows have them; `tick`: its last one."""
    return HealthFacts(
        now=now,
        mode=Mode(fleet.mode),
        installation_mode=Mode(limits.mode),
        archived=fleet.archived_at is not None,
        decided=tick is not None,
        undecided_for=now
        - undecided_since(
            created=fleet.created_at, restored=fleet.restored_at, decided=tick.at if tick else None
        ),
        period=fleet.tick_period if period is None else period,
        depth=tick.depth if tick else None,
        unknown_because=tick.held_back if tick and tick.depth is None else "",
        billable=sum(pods.states.values()),
        ready=pods.states.get(READY.value, 0),
        coming=sum(pods.states.get(state.value, 0) for state in COMING),
        not_gone=pods.not_gone,
        failing=tick.failing if tick else 0,
        trouble=tick.trouble if tick else "",
        all_fail=tick.all_fail if tick else None,
        all_fail_because=tick.all_fail_because if tick else "",
        binding=rule_named(tick.binding) if tick else None,
        held_back=tick.held_back if tick else "",
        items_per_second=pods.items_per_second,
        hourly_usd=pods.hourly_usd,
        item="item" if failed_rows is None else "row",
        failed=fleet.dead_letters if failed_rows is None else failed_rows,
        failed_about=bool(dead_rows),
        budgets=_budgets(fleet, spent, now),
        open=causes,
    )


def rule_named(name: str) -> Rule | None:
    """The rule of this name; None if there is none, or only a later version knows it."""
    return RULES.get(name)


def _budgets(fleet: Fleet, spent: SpentNow, now: datetime) -> Sequence[BudgetLeft]:
    left = []
    if fleet.daily_budget_usd is not None:
        tomorrow = midnight(now) + timedelta(days=1)
        usd = fleet.daily_budget_usd - spent.today
        left.append(BudgetLeft(name="today's budget", usd=usd, renews=tomorrow))
    if fleet.total_budget_usd is not None and spent.total is not None:
        left.append(BudgetLeft(name="the budget", usd=fleet.total_budget_usd - spent.total))
    return left
