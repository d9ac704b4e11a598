"""The guardrails: each can lower the number of pods, none can raise it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Final

from fleet.decision.brakes import trouble
from fleet.decision.estimates import pods_for, time_left
from fleet.decision.field_words import LABELS
from fleet.decision.goal_facts import reserved_hours
from fleet.decision.replacing import kept_idle, wants_trial
from fleet.decision.sampling import Sampling
from fleet.decision.sentence import seconds_text
from fleet.decision.usage import why_under_used
from fleet.decision.values import Goal, Mode, Policy, Rule, Snapshot, Start
from pods.amounts import usd
from pods.plural import plural
from pods.price import HOUR_SECONDS, exact_seconds
from pods.rules import PodRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The most active pods that a rule allows."""

    at_most: int  # after this tick, the new ones included
    because: str
    # The rule that retires running pods above this bound. None: it only stops new pods.
    retires: PodRule | None = None
    # The rule that destroys the stopped pods: they may not run again, or their disks cost too much.
    ends_stopped: PodRule | None = None
    # The rule that takes back pods whose creation was not requested yet, or is not certain.
    withdraws: PodRule | None = None


# Before so many rows of a dataset are finished, the share of failed ones says nothing.
FIRST_ROWS: Final = 1_000

Starts = Sequence[Start]  # all possible starts, in the order in which they would be made
Guardrail = Callable[[Snapshot, Policy, Starts], Bound | None]


def stop_all(_seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """Nothing may run."""
    if policy.mode is Mode.STOP_ALL:
        because = "an operator stopped the fleet"
    elif policy.installation_mode is Mode.STOP_ALL:
        because = "an operator stopped the whole installation"
    else:
        return None
    rule = PodRule.STOP_ALL
    return Bound(at_most=0, because=because, retires=rule, ends_stopped=rule)


def paused(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """Nothing may start."""
    if policy.mode is Mode.PAUSED:
        because = "the fleet is paused"
    elif policy.installation_mode is Mode.PAUSED:
        because = "the whole installation is paused"
    else:
        return None
    return Bound(at_most=len(seen.active), because=because, withdraws=PodRule.PAUSED)


def sample(_seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """A quote measures with one pod, which ends afterwards if the fleet is paused."""
    if policy.sample is None:
        return None
    if policy.sample is Sampling.MEASURES:
        return Bound(at_most=1, because="a quote measures the speed of one pod")
    because = "the sample of a quote is over, and the fleet is paused"
    return Bound(at_most=0, because=because, retires=PodRule.SAMPLE, ends_stopped=PodRule.SAMPLE)


def max_instances(_seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """The limit on pods that work or will work."""
    return Bound(
        at_most=policy.max_instances,
        because=f"{LABELS['max_instances']} is {policy.max_instances}",
        retires=PodRule.MAX_INSTANCES,
    )


def room(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """The limit on pods that may bill: a pod on its way out keeps its place until proved gone."""
    free = max(0, policy.max_instances - seen.billable)
    return Bound(
        at_most=len(seen.active) + _startable(starts, free),
        because=f"{seen.billable} of {policy.max_instances} places for pods are taken",
    )


def _startable(starts: Starts, free: int) -> int:
    """How many can start in `free` places: a stopped pod that runs again already has its place."""
    count = 0
    for start in starts:
        if start.takes_place:
            if not free:
                return count
            free -= 1
        count += 1
    return count + free


def installation_instances(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """The limit on pods that may bill, over all fleets."""
    cap = policy.installation.max_instances
    if cap is None:
        return None
    taken = seen.elsewhere.pods + seen.billable
    return Bound(
        at_most=len(seen.active) + _startable(starts, max(0, cap - taken)),
        because=f"{taken} of the installation's {cap} places for pods are taken",
    )


def max_hourly_usd(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """The most pods that the ceiling pays for; pods that may or may not exist count too."""
    if policy.max_hourly_usd is None:
        return None
    return _ceiling(seen, policy.max_hourly_usd, starts)


def installation_hourly_usd(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """The same ceiling over all fleets. It retires nothing: no fleet's pods should go first."""
    cap = policy.installation.max_hourly_usd
    if cap is None:
        return None
    committed = seen.hourly_usd + seen.elsewhere.hourly_usd
    new = _affordable(starts, cap - committed)
    if new is None:
        return None
    return Bound(
        at_most=len(seen.active) + new,
        because=f"{usd(committed)}/h of the installation's {usd(cap)}/h is committed",
    )


def _ceiling(seen: Snapshot, cap: Decimal, starts: Starts) -> Bound | None:
    """What fits under a ceiling: first the running pods, cheapest first, then the starts in order."""
    committed = seen.hourly_usd
    if committed > cap:
        active = sorted(p.hourly_usd for p in seen.active)
        # Pods on their way out bill for a moment more; only active pods can be retired.
        keep = sum(total <= cap for total in accumulate(active))
        return Bound(
            at_most=min(keep, len(active)),
            because=f"{usd(cap)}/h pays for {keep} of {len(active)} pods",
            retires=PodRule.MAX_HOURLY_USD,
            ends_stopped=PodRule.STOPPED,
        )
    new = _affordable(starts, cap - committed)
    if new is None:
        return None
    return Bound(
        at_most=len(seen.active) + new,
        because=f"{usd(committed)}/h of {usd(cap)}/h is committed, enough for {_more(new)}",
    )


def _affordable(starts: Starts, left: Decimal) -> int | None:
    """How many of the starts, in their order, the money pays for; None if it pays for all."""
    fit = sum(total <= left for total in accumulate(start.hourly_usd for start in starts))
    return None if fit == len(starts) else fit


def _more(count: int) -> str:
    return plural(count, "more pod")


def daily_budget_usd(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """What today's budget pays for: one hour of each new pod is reserved."""
    if policy.daily_budget_usd is None:
        return None
    spent, rule = seen.spent_today_usd, PodRule.DAILY_BUDGET_USD
    return _budget(seen, policy, policy.daily_budget_usd, spent, "today's budget", rule, starts)


def total_budget_usd(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """What the fleet's total budget pays for: one hour of each new pod is reserved."""
    if policy.total_budget_usd is None:
        return None
    spent, rule = seen.spent_total_usd, PodRule.TOTAL_BUDGET_USD
    return _budget(seen, policy, policy.total_budget_usd, spent, "the total budget", rule, starts)


def budget_usd(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """What is left of the money of the goal, since it was set."""
    if policy.goal is not Goal.BUDGET or policy.budget_usd is None:
        return None
    spent, rule = seen.spent_total_usd - policy.budget_from_usd, PodRule.BUDGET_USD
    return _budget(seen, policy, policy.budget_usd, spent, "the goal's budget", rule, starts)


def installation_daily_budget(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """What the installation's budget of today, for all fleets, pays for."""
    cap = policy.installation.daily_budget_usd
    if cap is None:
        return None
    spent = seen.spent_today_usd + seen.elsewhere.spent_today_usd
    which, rule = "the installation's budget for today", PodRule.INSTALLATION_DAILY_BUDGET
    return _budget(seen, policy, cap, spent, which, rule, starts, also=seen.elsewhere.hourly_usd)


def wind_down(policy: Policy) -> timedelta:
    """For how long a pod still bills after its retirement began: the drain and the ticks around it."""
    return policy.drain_within + 4 * policy.tick


def _budget(
    seen: Snapshot,
    policy: Policy,
    budget: Decimal,
    spent: Decimal,
    which: str,
    rule: PodRule,
    starts: Starts,
    *,
    also: Decimal = Decimal(0),
) -> Bound | None:
    left = budget - spent
    committed = seen.hourly_usd + also
    seconds = exact_seconds(wind_down(policy))
    # An end that is proved late is booked back, also to before the budget was set.
    money = f"{usd(max(spent, Decimal(0)))} of {which} ({usd(budget)}) is spent"
    if left <= committed * seconds / HOUR_SECONDS:
        # The dearest pods go first, until the money that is left pays for the drain of the others.
        prices = sorted(p.hourly_usd for p in seen.active)
        ending = seen.hourly_usd - sum(prices)  # what has left bills until it is gone
        allowance = left * HOUR_SECONDS / seconds - also - ending
        # A pod that costs nothing may stay.
        keep = sum(total <= allowance for total in accumulate(prices)) if left > 0 else 0
        keep = max(keep, sum(price == 0 for price in prices))
        return Bound(at_most=keep, because=money, retires=rule, ends_stopped=PodRule.STOPPED)
    hours = reserved_hours(seen, policy, of_goal=rule is PodRule.BUDGET_USD)
    new = _affordable(starts, (left - also) / hours - seen.hourly_usd)
    if new is None:
        return None
    lasts = "one hour" if hours == 1 else f"{float(hours) * 60:.0f} min"
    because = f"{money}, enough for {lasts} of {_more(new)}"
    return Bound(at_most=len(seen.active) + new, because=because)


def no_offers(seen: Snapshot, policy: Policy, starts: Starts) -> Bound | None:
    """The limit by offers: each new pod needs one."""
    if len(starts) >= policy.spawn_per_tick:
        return None
    return Bound(
        at_most=len(seen.active) + len(starts),
        because=seen.no_offers_because or f"{plural(len(starts), 'offer')} can be rented",
    )


def canary(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """A template that has not acknowledged an item yet gets one pod: it may be broken."""
    if seen.proven:
        return None
    return Bound(
        at_most=max(1, len(seen.active) + wants_trial(seen, policy)),
        because="this template's first pod has not acknowledged an item yet",
    )


def brake(seen: Snapshot, _policy: Policy, _starts: Starts) -> Bound | None:
    """After a failure one pod of the template is tried at a time, each after a longer pause."""
    if seen.failing is None:
        return None
    tried = seen.failing.until > seen.now or any(p.trial for p in seen.active)
    return Bound(at_most=len(seen.active) + (0 if tried else 1), because=trouble(seen))


def all_fail(seen: Snapshot, _policy: Policy, _starts: Starts) -> Bound | None:
    """While all tries of all ready pods fail, a further pod would only spoil more items."""
    if not seen.all_fail:
        return None
    because = seen.all_fail_because or "no reason is known"
    return Bound(at_most=len(seen.active), because=f"all tries of all ready pods fail: {because}")


def tolerated_failure_percent(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """A dataset of which too many rows failed has no pods until an operator has looked at it."""
    found, most = seen.rows_failed, policy.tolerated_failure_percent
    if found is None or found.rows < FIRST_ROWS or found.failed * 100 <= most * found.rows:
        return None
    return Bound(
        at_most=0,
        because=f"{found.failed:,} of {plural(found.rows, 'row')} failed, more than {most} %: "
        f"{found.because or 'no reason is known'}",
        retires=PodRule.TOLERATED_FAILURE_PERCENT,
    )


def min_busy_percent(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """While the ready pods wait for what a further pod would wait for too, none starts.

    `min_instances` and an override hold all the same: they ask for pods, whatever these do.
    """
    because = why_under_used(seen, policy)
    if not because:
        return None
    return Bound(at_most=max(len(seen.active), asked_for(seen, policy)), because=because)


def asked_for(seen: Snapshot, policy: Policy) -> int:
    """How many pods an operator asks for, whatever the backlog: also one to try new code."""
    tried = len(seen.active) + 1 if wants_trial(seen, policy) else 0
    return max(kept_idle(seen, policy), tried)


def takeable(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """A pod starts only for items that it could take, not for those that working pods have in hand.

    Pods that are not ready yet will take items too. `min_instances` and an override hold all the same.
    """
    ready = seen.ready
    # a pod may be anybody's machine, so no more is believed than the backlog's server says
    in_hand = min(sum(p.in_flight or 0 for p in ready), seen.pending)
    if seen.depth is None or not in_hand:
        return None
    waiting = max(0, seen.depth - in_hand)
    coming = len(seen.active) - len(ready)
    # The items that justify a pod say nothing where a goal decides how many pods are worth it.
    each = policy.target_depth_per_pod if policy.goal is Goal.DEMAND else 1
    takers = len(ready) + max(coming, pods_for(waiting, each))
    return Bound(
        at_most=max(takers, asked_for(seen, policy)),
        because=f"{in_hand:,} of {plural(seen.depth, seen.item)} are in the hands of pods",
    )


def ranges(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """A range of a dataset is worked on by one pod, so no pod starts beyond the ranges that are left.

    `min_instances` and an override hold all the same.
    """
    if seen.ranges is None:
        return None
    return Bound(
        at_most=max(seen.ranges, asked_for(seen, policy)),
        because=f"{plural(seen.ranges, 'range')} of rows {'is' if seen.ranges == 1 else 'are'} left, "
        "and one pod works on each",
    )


def worth_booting(seen: Snapshot, _policy: Policy, _starts: Starts) -> Bound | None:
    """Near the end of a backlog no pod starts that would work for less time than it boots."""
    left = time_left(seen.depth, seen.items_per_second)
    if not seen.ready or seen.boot_time is None or left is None or left >= seen.boot_time:
        return None
    return Bound(
        at_most=len(seen.active),
        because=f"the backlog ends in {seconds_text(left)}, and a boot takes "
        f"{seconds_text(seen.boot_time)}",
    )


def spawn_per_tick(seen: Snapshot, policy: Policy, _starts: Starts) -> Bound | None:
    """The limit on new pods in one tick."""
    return Bound(
        at_most=len(seen.active) + policy.spawn_per_tick,
        because=f"a tick starts at most {plural(policy.spawn_per_tick, 'pod')}",
    )


# The decision explains itself in this order: first the operator's limits, then the present facts.
GUARDRAILS: Final[Sequence[tuple[Rule, Guardrail]]] = (
    (Rule.STOP_ALL, stop_all),
    (Rule.PAUSED, paused),
    (Rule.SAMPLE, sample),
    (Rule.MAX_INSTANCES, max_instances),
    (Rule.ROOM, room),
    (Rule.INSTALLATION_INSTANCES, installation_instances),
    (Rule.MAX_HOURLY_USD, max_hourly_usd),
    (Rule.INSTALLATION_HOURLY_USD, installation_hourly_usd),
    (Rule.DAILY_BUDGET_USD, daily_budget_usd),
    (Rule.TOTAL_BUDGET_USD, total_budget_usd),
    (Rule.INSTALLATION_DAILY_BUDGET, installation_daily_budget),
    (Rule.BUDGET_USD, budget_usd),
    (Rule.CANARY, canary),
    (Rule.BRAKE, brake),
    (Rule.ALL_FAIL, all_fail),
    (Rule.TOLERATED_FAILURE_PERCENT, tolerated_failure_percent),
    (Rule.MIN_BUSY_PERCENT, min_busy_percent),
    (Rule.TAKEABLE, takeable),
    (Rule.RANGES, ranges),
    (Rule.WORTH_BOOTING, worth_booting),
    (Rule.NO_OFFERS, no_offers),
    (Rule.SPAWN_PER_TICK, spawn_per_tick),
)
