"""The alert rules: they turn facts about fleets, pods and accounts into incidents. Pure."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from fleet.decision.alert_facts import (
    AlertFacts,
    Cause,
    ForecastSeen,
    Incident,
    Severity,
)
from fleet.decision.brakes import said_of
from fleet.decision.field_words import LABELS, rule_words
from fleet.decision.values import Rule
from fleet.decision.windows import (
    PODS_FAILED,
    backlogs,
    is_unattended,
    no_pods,
    of_fleet,
    unknown_backlogs,
    unseen,
)
from pods.amounts import usd
from pods.plural import plural
from pods.rules import CREDENTIALS_REFUSED, DESTROY_PATIENCE, DESTROY_TRIES

KEYS_FAIL_FOR: Final = timedelta(minutes=5)  # while the present keys are valid
NOBODY_ASKS: Final = (
    "nobody has asked for others; make sure that beat sends fleet.issue_keys and that a worker takes "
    "from the queue notify"
)
AGAIN_AFTER: Final = timedelta(hours=24)
BUDGET_STEPS: Final = (100, 80, 50)  # percent
BALANCE_HOURS: Final = 24
# Shares of a forecast's replays at which an alert begins, and at which it ends.
ON_TIME, ON_TIME_AGAIN = 0.8, 0.9
TOO_LITTLE, ENOUGH_AGAIN = 0.5, 0.25
CEILINGS: Final = frozenset({Rule.MAX_HOURLY_USD, Rule.INSTALLATION_HOURLY_USD})


AlertRule = Callable[[AlertFacts], Iterator[Incident]]


def alerts(facts: AlertFacts) -> frozenset[Incident]:
    """The incidents that last now. An incident that is not among them has ended."""
    return frozenset(incident for rule in RULES for incident in rule(facts))


def old_pods(facts: AlertFacts) -> Iterator[Incident]:
    """A pod lives longer than the fleet's `alert_after_hours`; a new round each further 24 h."""
    after = {f.fleet_id: f.alert_after for f in facts.fleets}
    for pod in facts.pods:
        limit = after.get(pod.fleet_id)
        if limit is None or pod.age < limit:
            continue
        hours = int(pod.age.total_seconds() // 3600)
        yield Incident(
            cause=Cause.POD_OLD,
            subject=f"pod:{pod.pod_id}",
            severity=Severity.WARNING,
            text=f"pod {pod.name} has run for {hours} h at {usd(pod.hourly_usd)}/h",
            fleet_id=pod.fleet_id,
            round=1 + (pod.age - limit) // AGAIN_AFTER,
        )


def budgets(facts: AlertFacts) -> Iterator[Incident]:
    """The highest step that the spending has reached of each budget: 50, 80 or 100 %."""
    for fleet in facts.fleets:
        subject = f"fleet:{fleet.fleet_id}"
        for which, spent, budget in (
            ("today", fleet.spent_today_usd, fleet.daily_budget_usd),
            ("total", fleet.spent_total_usd, fleet.total_budget_usd),
        ):
            yield from _budget(
                f"{subject}:{which}", f"{fleet.name}, {which}", spent, budget, fleet.fleet_id
            )
    today = sum((f.spent_today_usd for f in facts.fleets), facts.archived_today_usd)
    yield from _budget(
        "installation", "all fleets, today", today, facts.installation_budget_usd, None
    )


def _budget(
    subject: str, what: str, spent: Decimal, budget: Decimal | None, fleet_id: int | None
) -> Iterator[Incident]:
    if not budget:
        return
    step = next((s for s in BUDGET_STEPS if spent * 100 >= budget * s), None)
    if step is None:
        return
    yield Incident(
        cause=Cause(f"budget_{step}"),
        subject=subject,
        severity={50: Severity.INFO, 80: Severity.WARNING, 100: Severity.CRITICAL}[step],
        text=f"{what}: {usd(spent)} of the budget of {usd(budget)} is spent",
        fleet_id=fleet_id,
    )


def ceilings(facts: AlertFacts) -> Iterator[Incident]:
    """In the last tick a ceiling paid for fewer pods than the backlog needs, whatever bound it."""
    for fleet in facts.fleets:
        if fleet.ticks and fleet.ticks[-1].ceiling:
            yield of_fleet(
                fleet,
                Cause.CEILING,
                Severity.WARNING,
                f"{LABELS['max_hourly_usd']}, the fleet's or that of all fleets, holds back pods that "
                "the backlog needs",
            )


def goals_at_risk(facts: AlertFacts) -> Iterator[Incident]:
    """Two ticks in a row could not promise the fleet's goal, or its forecast misses it too often.

    It ends when a tick can promise it and nearly all replays of the forecast make it.
    """
    for fleet in facts.fleets:
        last = [tick.risk for tick in fleet.ticks[-2:]]
        begun = Cause.GOAL_AT_RISK in fleet.open
        if begun and last and fleet.ticks[-1].depth is None:
            yield fleet.open[Cause.GOAL_AT_RISK]
        elif last and last[-1] and (begun or (len(last) > 1 and all(last))):
            yield of_fleet(fleet, Cause.GOAL_AT_RISK, Severity.WARNING, last[-1])
        elif text := _late(fleet.forecast, begun=begun):
            yield of_fleet(fleet, Cause.GOAL_AT_RISK, Severity.WARNING, text)


def _late(forecast: ForecastSeen | None, *, begun: bool) -> str:
    """That the forecast misses the deadline too often, and what would help; "": it does not."""
    if forecast is None or forecast.on_time is None or forecast.drain_by is None:
        return ""
    if forecast.on_time >= (ON_TIME_AGAIN if begun else ON_TIME):
        return ""
    share = f"{forecast.on_time:.0%}".replace("%", " %")
    said = f"by the forecast it makes {forecast.drain_by:%F %H:%M} UTC in {share} of the cases"
    held, field = forecast.held_by, LABELS["drain_by"]
    raised = rule_words(held) if held else LABELS["max_instances"]
    if forecast.sure_at is None:
        if held:
            return f"{said}. Raise {raised}"
        return f"{said}. Raise {raised}, or let it rent more kinds of offers"
    return f"{said}. Raise {raised}, or set {field} to {forecast.sure_at:%F %H:%M} UTC or later"


def budgets_short(facts: AlertFacts) -> Iterator[Incident]:
    """By the forecast a budget ends before the backlog. It ends when that is unlikely."""
    for fleet in facts.fleets:
        forecast = fleet.forecast
        if forecast is None:
            continue
        begun = Cause.BUDGET_SHORT in fleet.open
        if forecast.money_ends < (ENOUGH_AGAIN if begun else TOO_LITTLE):
            continue
        share = f"{forecast.money_ends:.0%}".replace("%", " %")
        text = (
            f"by the forecast its budget ends before its backlog in {share} of the cases; about "
            f"{forecast.left:,} of {plural(forecast.depth, 'item')} are left then. Add money, "
            "or let it rent cheaper offers"
        )
        yield of_fleet(fleet, Cause.BUDGET_SHORT, Severity.WARNING, text)


def circuits(facts: AlertFacts) -> Iterator[Incident]:
    """An account's breaker is open after failures, or its credentials are refused."""
    for account in facts.accounts:
        subject = f"account:{account.account_id}"
        if account.failures and account.last_error_kind in CREDENTIALS_REFUSED:
            yield Incident(
                cause=Cause.CREDENTIALS,
                subject=subject,
                severity=Severity.CRITICAL,
                text=f"account {account.name}: the credentials are refused: {account.last_error}",
            )
        # Failures keep the alert open between two pauses; else it would end and begin each time.
        elif account.open_until is not None and (
            account.open_until > facts.now or account.failures
        ):
            yield Incident(
                cause=Cause.CIRCUIT_OPEN,
                subject=subject,
                severity=Severity.WARNING,
                text=f"renting from account {account.name} is paused after "
                f"{plural(account.failures, 'failure')}: {account.last_error}",
            )


def balances(facts: AlertFacts) -> Iterator[Incident]:
    """The account's balance pays for less than a day of what runs now."""
    for account in facts.accounts:
        left, hourly = account.balance_usd, account.hourly_usd
        if not account.balance_fresh and Cause.BALANCE_LOW not in account.open:
            continue
        if left is None or not hourly or left >= hourly * BALANCE_HOURS:
            continue
        yield Incident(
            cause=Cause.BALANCE_LOW,
            subject=f"account:{account.account_id}",
            severity=Severity.CRITICAL if left < hourly else Severity.WARNING,
            text=f"account {account.name} has {usd(left)} left, "
            f"enough for {max(left, Decimal(0)) / hourly:.1f} h at {usd(hourly)}/h",
        )


def orphans(facts: AlertFacts) -> Iterator[Incident]:
    """A machine of ours bills and has no row."""
    for orphan in facts.orphans:
        yield Incident(
            cause=Cause.ORPHAN,
            subject=f"orphan:{orphan.orphan_id}",
            severity=Severity.CRITICAL,
            text=f"machine {orphan.name} at account {orphan.account} bills "
            f"{usd(orphan.hourly_usd)}/h and has no row here",
        )


def destroys(facts: AlertFacts) -> Iterator[Incident]:
    """A pod still exists after several tries to destroy it."""
    for pod in facts.pods:
        since = pod.terminating_for
        if since is None or since < DESTROY_PATIENCE or pod.tries < DESTROY_TRIES:
            continue
        yield Incident(
            cause=Cause.DESTROY_FAILS,
            subject=f"pod:{pod.pod_id}",
            severity=Severity.CRITICAL,
            text=f"pod {pod.name} is not gone after {plural(pod.tries, 'try')} to destroy it and bills "
            f"{usd(pod.hourly_usd)}/h: {pod.note}",
            fleet_id=pod.fleet_id,
        )


def failing_pods(facts: AlertFacts) -> Iterator[Incident]:
    """Several pods of the fleet's template in a row failed before they finished an item."""
    for fleet in facts.fleets:
        if fleet.failing >= PODS_FAILED:
            text = said_of(fleet.failing, fleet.failing_because)
            yield of_fleet(fleet, Cause.BOOTS_FAIL, Severity.CRITICAL, fleet.trouble or text)


def failing_work(facts: AlertFacts) -> Iterator[Incident]:
    """All tries of all ready pods fail. It ends when an item succeeds, or none is left."""
    for fleet in facts.fleets:
        if fleet.all_fail:
            text = f"all tries of all ready pods fail: {fleet.all_fail_because}"
            yield of_fleet(fleet, Cause.ALL_FAIL, Severity.CRITICAL, text)
            continue
        nothing_left = bool(fleet.ticks) and fleet.ticks[-1].depth == 0
        if fleet.all_fail is None and Cause.ALL_FAIL in fleet.open and not nothing_left:
            yield fleet.open[Cause.ALL_FAIL]


def failing_rows(facts: AlertFacts) -> Iterator[Incident]:
    """More rows of a dataset failed than the fleet tolerates, so it has no pods."""
    for fleet in facts.fleets:
        if fleet.rows_fail:
            yield of_fleet(fleet, Cause.ROWS_FAIL, Severity.CRITICAL, fleet.rows_fail)


def failing_keys(facts: AlertFacts) -> Iterator[Incident]:
    """STS issues no keys for a fleet's pods: for some minutes, or none that they have is valid.

    Keys that ended without a failure say that nobody asks: the task does not run.
    """
    for fleet in facts.fleets:
        ended = fleet.keys_end is None or fleet.keys_end <= facts.now
        why = fleet.keys_fail or (NOBODY_ASKS if ended and fleet.keys_end is not None else "")
        if not why or not (ended or fleet.keys_fail_for >= KEYS_FAIL_FOR):
            continue
        have = "the pods have no keys" if fleet.keys_end is None else (
            f"the pods' keys {'ended' if ended else 'end'} at {fleet.keys_end:%F %T} UTC"
        )  # fmt: skip
        severity = Severity.CRITICAL if ended else Severity.WARNING
        yield of_fleet(fleet, Cause.KEYS_NOT_ISSUED, severity, f"{have}: {why}")


def dead_letters(facts: AlertFacts) -> Iterator[Incident]:
    """Dead letters wait for an operator; a new round at each further power of ten."""
    for fleet in facts.fleets:
        if fleet.dead:
            yield Incident(
                cause=Cause.DEAD_LETTERS,
                subject=f"fleet:{fleet.fleet_id}",
                severity=Severity.WARNING,
                text=f"{fleet.name}: {plural(fleet.dead, 'item')} failed for good (dead letters)",
                fleet_id=fleet.fleet_id,
                round=len(str(fleet.dead)),
            )


def late_ticks(facts: AlertFacts) -> Iterator[Incident]:
    """There was no decision for three tick periods."""
    for fleet in facts.fleets:
        if fleet.scheduled and is_unattended(fleet.undecided_for, fleet.period):
            last = fleet.last_tick_at
            when = "the fleet was created" if last is None else f"{last:%F %T} UTC"
            yield of_fleet(fleet, Cause.NO_TICK, Severity.CRITICAL, f"no decision since {when}")


def evicting_servers(facts: AlertFacts) -> Iterator[Incident]:
    """The fleet's Redis deletes keys by itself when its memory is full."""
    for fleet in facts.fleets:
        if fleet.evicts:
            yield of_fleet(fleet, Cause.REDIS_EVICTS, Severity.WARNING, fleet.evicts)
        elif fleet.evicts is None and Cause.REDIS_EVICTS in fleet.open:
            yield fleet.open[Cause.REDIS_EVICTS]


def stops(facts: AlertFacts) -> Iterator[Incident]:
    """An operator stopped everything: nobody should forget that."""
    if facts.stop is None:
        return
    since = "" if facts.stop.at is None else f" since {facts.stop.at:%F %T} UTC"
    by = f" by {facts.stop.by}" if facts.stop.by else ""
    yield Incident(
        cause=Cause.STOPPED,
        subject="installation",
        severity=Severity.WARNING,
        text=f"everything is stopped{since}{by}: no pod starts, and every pod is ended",
    )


RULES: Final[Sequence[AlertRule]] = (
    stops,
    old_pods,
    budgets,
    ceilings,
    goals_at_risk,
    budgets_short,
    circuits,
    balances,
    orphans,
    destroys,
    failing_pods,
    no_pods,
    unknown_backlogs,
    backlogs,
    failing_work,
    failing_rows,
    failing_keys,
    dead_letters,
    late_ticks,
    evicting_servers,
    unseen,
)
