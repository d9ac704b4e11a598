"""How well a fleet is, in one word and one line; the worst wins. Its mode is another matter. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from fleet.decision.alert_facts import Cause
from fleet.decision.estimates import time_left
from fleet.decision.field_words import rule_words
from fleet.decision.values import Mode, Rule
from fleet.decision.windows import PODS_FAILED, is_unattended
from pods.durations import in_steps, lasting
from pods.plural import plural
from pods.price import HOUR_SECONDS, exact_seconds


class Health(StrEnum):
    """How well a fleet is, the worst first."""

    CANNOT_END = "cannot_end"  # a pod that should be gone bills on
    UNATTENDED = "unattended"  # nothing decides on it
    FAILING = "failing"
    UNKNOWN = "unknown"
    MONEY_OUT = "money_out"  # a budget ends before the work does
    LATE = "late"  # it will not be done in time, or never at this rate
    HELD = "held"  # a limit or a lack keeps pods from it
    STARTING = "starting"
    WORKING = "working"
    PAUSED = "paused"
    STOPPED = "stopped"
    IDLE = "idle"

    @property
    def rank(self) -> int:
        """The place in the order: 0 is the worst."""
        return RANKS[self]

    @property
    def needs_operator(self) -> bool:
        """Whether it gets worse, or stays as bad, until somebody acts."""
        return self.rank <= Health.LATE.rank


RANKS: Final[Mapping[Health, int]] = {health: n for n, health in enumerate(Health)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLeft:
    """What is left of one budget."""

    name: str  # "today's budget"
    usd: Decimal
    renews: datetime | None = None  # None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """What is known of a fleet at one moment. Unknown is None."""

    now: datetime
    mode: Mode = Mode.RUNNING
    installation_mode: Mode = Mode.RUNNING
    archived: bool = False
    decided: bool = True  # there was a decision
    undecided_for: timedelta = timedelta(0)  # since the last decision, or since the fleet was made
    period: timedelta = timedelta(seconds=15)
    depth: int | None = 0  # items
    unknown_because: str = ""
    billable: int = 0  # pods that may bill
    ready: int = 0  # those that work or could
    coming: int = 0  # those on their way to be ready
    not_gone: int = 0  # those that are still there after several tries to destroy them
    failing: int = 0  # pods in a row that failed before they finished an item
    trouble: str = ""  # why, for people; "": nothing fails, or no pod is wanted
    all_fail: bool | None = None  # whether the last tries of all ready pods failed
    all_fail_because: str = ""
    binding: Rule | None = None  # the rule that kept the last decision below the wish
    held_back: str = ""  # what that rule said, for people
    items_per_second: float | None = None
    hourly_usd: Decimal = Decimal(0)
    item: str = "item"  # what the backlog counts, for people
    failed: int = 0  # items that failed for good
    failed_about: bool = False  # whether that is an estimate: ranges of lines failed as a whole
    budgets: Sequence[BudgetLeft] = ()
    open: Mapping[Cause, str] = field(default_factory=dict, hash=False)  # its open alerts

    @property
    def stopped(self) -> bool:
        """Whether an operator stopped it, or the whole installation."""
        return Mode.STOP_ALL in {self.mode, self.installation_mode}

    @property
    def paused(self) -> bool:
        """Whether an operator paused it, or the whole installation."""
        return Mode.PAUSED in {self.mode, self.installation_mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHealth:
    """A fleet's health, and why in one line for people."""

    health: Health
    because: str

    def why(self, decision: str) -> str:
        """Why the fleet is not well; why it has this many pods (its last decision), if it works."""
        return decision if self.health is Health.WORKING else self.because


HealthRule = Callable[[HealthFacts], str | None]  # why the fleet is so; None: it is not

BUDGETS: Final = frozenset(
    {
        Rule.DAILY_BUDGET_USD,
        Rule.TOTAL_BUDGET_USD,
        Rule.INSTALLATION_DAILY_BUDGET,
        Rule.BUDGET_USD,
    }
)
# Rules that keep pods away while work waits. The others are the fleet's own size, or last a few ticks.
HOLDS: Final = frozenset(
    {
        Rule.INSTALLATION_INSTANCES,
        Rule.MAX_HOURLY_USD,
        Rule.INSTALLATION_HOURLY_USD,
        Rule.BRAKE,
        Rule.ALL_FAIL,
        Rule.TOLERATED_FAILURE_PERCENT,
        Rule.MIN_BUSY_PERCENT,
        Rule.NO_OFFERS,
    }
)


def health_of(facts: HealthFacts) -> FleetHealth:
    """The worst of what is so, and why."""
    for health, rule in RULES:
        because = rule(facts)
        if because is not None:
            return FleetHealth(health=health, because=because)
    raise AssertionError("a fleet of which nothing else is so is idle")


def cannot_end(facts: HealthFacts) -> str | None:
    """A pod is still there after several tries to destroy it."""
    if not facts.not_gone:
        return None
    are = "is" if facts.not_gone == 1 else "are"
    return f"{plural(facts.not_gone, 'pod')} {are} not gone after several tries to destroy it"


def unattended(facts: HealthFacts) -> str | None:
    """No decision came for three periods. An archived fleet gets none, so it should have no pod."""
    if facts.archived:
        return "it is archived, but a pod may bill" if facts.billable else None
    if not is_unattended(facts.undecided_for, facts.period):
        return None
    return f"no decision for {in_steps(facts.undecided_for)}; do beat and the workers run?"


def failing(facts: HealthFacts) -> str | None:
    """Its pods fail one after another, finish nothing, or cannot be had."""
    if facts.all_fail:
        return f"all tries of all ready pods fail: {facts.all_fail_because or 'no reason is known'}"
    if facts.trouble and (facts.failing >= PODS_FAILED or (facts.failing and not facts.ready)):
        return facts.trouble
    if Cause.NO_PODS in facts.open and not facts.ready:
        return facts.open[Cause.NO_PODS]
    return facts.open.get(Cause.NOT_DRAINED)


def unknown(facts: HealthFacts) -> str | None:
    """Nobody knows how many items wait, and pods may start. Before a decision nobody has looked."""
    if facts.depth is not None or facts.archived or facts.stopped or not facts.decided:
        return None
    return facts.unknown_because or "the backlog cannot be read"


def money_out(facts: HealthFacts) -> str | None:
    """A budget is used up, or will be before the work is done."""
    if not facts.depth or facts.stopped:
        return None
    if facts.binding in BUDGETS:
        return facts.held_back or "the budget is used up"
    needed = time_left(facts.depth, facts.items_per_second)
    if needed is None or not facts.hourly_usd:
        return None
    for budget in facts.budgets:
        lasts = max(budget.usd, Decimal(0)) / facts.hourly_usd * HOUR_SECONDS
        renewed = needed if budget.renews is None else min(needed, budget.renews - facts.now)
        if lasts < exact_seconds(renewed):
            left = in_steps(timedelta(seconds=int(lasts)))
            needs = f"it begins anew in {in_steps(renewed)}"
            if renewed == needed:
                needs = f"the work lasts {in_steps(needed)}"
            return f"at this price {budget.name} lasts {left}; {needs}"
    return None


def late(facts: HealthFacts) -> str | None:
    """The backlog grows although all pods work: it is never done at this rate."""
    return None if facts.stopped else facts.open.get(Cause.BACKLOG_GROWS)


def held(facts: HealthFacts) -> str | None:
    """Items wait, and a rule keeps pods from the fleet: any pod, or more than it has."""
    if not facts.depth or facts.stopped or facts.binding is None:
        return None
    none_at_all = not facts.ready and not facts.coming and not facts.paused
    if facts.binding in HOLDS or (none_at_all and facts.binding not in BUDGETS):
        return facts.held_back or rule_words(facts.binding)
    return None


def starting(facts: HealthFacts) -> str | None:
    """Pods are on their way and none is ready, or nothing was decided yet."""
    if facts.stopped or facts.ready or facts.archived:
        return None
    if facts.coming:
        return f"{plural(facts.coming, 'pod')} on the way, none ready"
    if facts.paused:
        return None
    if not facts.decided:
        return f"the first decision comes within {lasting(facts.period)}"
    return "items wait for a first pod" if facts.depth else None


def working(facts: HealthFacts) -> str | None:
    """Pods are ready and items wait."""
    if facts.stopped or not facts.ready or not facts.depth:
        return None
    return f"{plural(facts.ready, 'pod')} at work"


def paused(facts: HealthFacts) -> str | None:
    """No pod starts, because an operator asked for that."""
    if facts.stopped or not facts.paused:
        return None
    if facts.installation_mode is Mode.PAUSED:
        return "the whole installation is paused"
    return "an operator paused it"


def stopped(facts: HealthFacts) -> str | None:
    """No pod may run, because an operator asked for that."""
    if not facts.stopped:
        return None
    who = "everything is stopped"
    if facts.installation_mode is not Mode.STOP_ALL:
        who = "an operator stopped it"
    return f"{who}; {plural(facts.billable, 'pod')} still to end" if facts.billable else who


def idle(facts: HealthFacts) -> str:
    """Nothing waits."""
    if facts.archived:
        return "archived"
    said = ["nothing waits"]
    if facts.billable:
        said.append(f"{plural(facts.billable, 'pod')} may bill")
    if facts.failed:
        about = "about " if facts.failed_about else ""
        said.append(f"{about}{plural(facts.failed, facts.item)} failed")
    return "; ".join(said)


RULES: Final[Sequence[tuple[Health, HealthRule]]] = (
    (Health.CANNOT_END, cannot_end),
    (Health.UNATTENDED, unattended),
    (Health.FAILING, failing),
    (Health.UNKNOWN, unknown),
    (Health.MONEY_OUT, money_out),
    (Health.LATE, late),
    (Health.HELD, held),
    (Health.STARTING, starting),
    (Health.WORKING, working),
    (Health.PAUSED, paused),
    (Health.STOPPED, stopped),
    (Health.IDLE, idle),
)
