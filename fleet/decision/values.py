"""The values that a scale decision reads and returns. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Final

from fleet.decision.lacks import AccountLack
from fleet.decision.sampling import Sampling
from pods.bottleneck import Bottleneck
from pods.price import usd_per_item
from pods.rules import PodRule
from pods.states import ACTIVE, READY, STOPPED, PodState

# A decision has a value for each of its pods, so a typing error must not ask for a billion.
MOST_PODS: Final = 10_000
MOST_STARTS: Final = 1_000  # in one tick


class Goal(StrEnum):
    """What decides how many pods a fleet has."""

    DEMAND = "demand"  # ceil(depth / target_depth_per_pod)
    DEADLINE = "deadline"  # done by a moment, at the least cost
    BUDGET = "budget"  # as fast as possible with a sum of money
    CHEAPEST = "cheapest"  # at the least cost, whenever it is done


class Mode(StrEnum):
    """Whether an operator lets a fleet run."""

    RUNNING = "running"
    PAUSED = "paused"  # starts nothing
    STOP_ALL = "stop_all"  # starts nothing, drains and destroys all pods


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What a decision knows about one pod that may bill. Unknown is None."""

    pod_id: int
    state: PodState
    hourly_usd: Decimal
    age: timedelta
    idle_for: timedelta | None = None  # None: it is busy, or nobody knows
    in_flight: int | None = None  # items
    items_per_second: float | None = None
    gpu_type: str = ""
    gpu_count: int = 0
    account_id: int = 0
    account_usable: bool = True  # something new may run on its account now
    ready_for: timedelta | None = None  # None: it is not READY
    stopped_hourly_usd: Decimal = Decimal(0)  # the rent of its disk
    stopped_for: timedelta | None = None  # None: it is not stopped
    million_items_usd: Decimal | None = None  # what its items cost; None: nobody asked, or knows
    # Whether its last tries all failed. None: nobody knows, or it has finished no item yet.
    all_fail: bool | None = None
    # It has the fleet's present template and has not finished an item: nobody knows yet if it works.
    trial: bool = False
    outdated: bool = False  # it has other code, or another start command, than the fleet now
    # Where its time went in the last half minute, as its agent says; None: nobody knows.
    busy: float | None = None  # the share in which its handler worked, 0..1
    bottleneck: Bottleneck = Bottleneck.UNKNOWN  # what holds it back
    rtt: timedelta | None = None  # a round trip to its Redis
    batch: int | None = None  # items in its present batches
    gpu_percent: float | None = None
    interruptible: bool = False  # the vendor may take it away
    offer_key: str = ""  # of the offer that it came from, at its account
    # For how long it has been in its present state on its way out; None: it is not, or nobody knows.
    leaving_for: timedelta | None = None

    @property
    def bills_usd(self) -> Decimal:
        """USD/hour in its present state: a stopped pod bills the rent of its disk."""
        return self.stopped_hourly_usd if self.state is STOPPED else self.hourly_usd

    @property
    def active(self) -> bool:
        """Whether it works or will work."""
        return self.state in ACTIVE

    @property
    def usd_per_item(self) -> Decimal | None:
        """What one item costs on this pod; None if its rate is not known."""
        return usd_per_item(self.hourly_usd, self.items_per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFacts:
    """An offer that can be rented now."""

    account_id: int
    key: str
    hourly_usd: Decimal
    gpu_type: str = ""
    gpu_count: int = 0
    vram_gb: int | None = None
    region: str = ""
    host: str = ""
    interruptible: bool = False
    reliability: float | None = None
    remaining: timedelta | None = None  # how long it can still be rented; None: no limit
    largest_disk_gb: int | None = None  # the most disk that its host has; None: not known
    stopped_hourly_usd: Decimal = Decimal(0)
    million_items_usd: Decimal | None = None  # what its items would cost; None: no speed is known
    because: str = ""  # why it has its place in the ranking
    # For how long surveys have seen it without a break; None: nobody knows.
    stood_for: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The offers that a fleet accepts. An empty sequence or None means no restriction."""

    gpu_types: Sequence[str] = ()
    gpu_count: int = 1  # 1 fits every offer: an account may give no GPU, or more
    regions: Sequence[str] = ()
    min_vram_gb: int | None = None
    max_hourly_usd: Decimal | None = None
    min_reliability: float | None = None  # 0..1
    min_remaining: timedelta | None = None
    interruptible: bool | None = None  # None: both
    disk_gb: int = 0  # the disk of the fleet's pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A number of pods that an operator set instead of the formula, until it ends."""

    pods: int
    until: datetime
    by: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What the other fleets use of the installation's limits."""

    pods: int = 0  # that may bill
    hourly_usd: Decimal = Decimal(0)
    spent_today_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The newest pods of the fleet's present template failed before they finished an item."""

    count: int  # pods in a row
    at: datetime  # when the newest one was found to have failed
    because: str  # why most of them did, for people
    until: datetime  # no further pod starts before


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsFailed:
    """How many rows of a dataset failed, since an operator last asked to try again."""

    failed: int
    rows: int  # that were finished, with those that failed
    because: str = ""  # some of the errors, for people


@dataclass(frozen=True, kw_only=True)  # without slots: what is worked out once is kept
class Snapshot:
    """All facts that one decision uses."""

    now: datetime
    depth: int | None  # items not acknowledged; None: unknown
    pending: int = 0  # those of them that a consumer has taken
    depth_estimated: bool = False
    unknown_because: str = ""
    pods: Sequence[PodFacts] = ()  # every pod of the fleet that may bill
    orphans: int = 0  # machines of this fleet without a row; they bill too
    orphans_hourly_usd: Decimal = Decimal(0)
    offers: Sequence[OfferFacts] = ()  # best first
    no_offers_because: str = ""
    lacks: Sequence[AccountLack] = ()  # one for each account, where there is no offer
    spent_today_usd: Decimal = Decimal(0)
    spent_total_usd: Decimal = Decimal(0)
    proven: bool = True  # this template has acknowledged an item before
    items_per_second: float | None = None  # measured, all pods together; None: not known
    boot_time: timedelta | None = None  # measured; None: not known
    may_end_ill: bool = False  # one more pod may be ended for bad health within the window
    # For how long every tick has seen items that no pod had taken; None: no such items.
    waiting_for: timedelta | None = None
    elsewhere: Elsewhere = Elsewhere()
    failing: Failing | None = None  # None: the newest pod works, or none has failed
    all_fail_because: str = ""  # what a pod whose tries all fail says, for people
    # Of a dataset: the ranges of rows that no pod has finished. None: it is not one, or nobody knows.
    ranges: int | None = None
    rows_failed: RowsFailed | None = None  # None: it is not a dataset, or nobody knows
    # What a goal reads; a fleet that goes by demand does not have it.
    boot_bound: timedelta | None = None  # nearly every boot is shorter; None: not known
    usual_items_per_second: float | None = None  # of one pod, over the last days
    arrivals_per_second: float | None = None  # items that are still added; None: none, or not known
    rate_spread: float | None = None  # by which share the speeds of its pods differ from their mean
    spot_lost: float = 0.0  # interruptible pods that were taken away; old ones count less
    spot_hours: float = 0.0  # hours of interruptible pods; old ones count less
    spot_hourly_usd: Decimal | None = None  # the least paid for one lately; None: none ran

    @property
    def item(self) -> str:
        """What the backlog counts, for people."""
        return "item" if self.ranges is None else "row"

    @property
    def all_fail(self) -> bool | None:
        """Whether the last tries of all ready pods with the present code failed; None: nobody knows."""
        said = [p.all_fail for p in self.ready if p.all_fail is not None and not p.outdated]
        return all(said) if said else None

    @cached_property
    def active(self) -> Sequence[PodFacts]:
        """The pods that work or will work."""
        return [p for p in self.pods if p.state in ACTIVE]

    @cached_property
    def ready(self) -> Sequence[PodFacts]:
        """The pods that work."""
        return [p for p in self.pods if p.state is READY]

    @property
    def billable(self) -> int:
        """How many pods and machines of this fleet may bill."""
        return len(self.pods) + self.orphans

    @cached_property
    def hourly_usd(self) -> Decimal:
        """USD/hour of all pods and machines of this fleet that may bill."""
        return sum((p.bills_usd for p in self.pods), self.orphans_hourly_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Limits on a set of pods. None: no limit."""

    max_instances: int | None = None
    max_hourly_usd: Decimal | None = None
    daily_budget_usd: Decimal | None = None
    total_budget_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator asked for."""

    target_depth_per_pod: int  # items
    min_instances: int = 0
    max_instances: int = 1
    spawn_per_tick: int = 1
    idle_after: timedelta = timedelta(seconds=120)
    drain_within: timedelta = timedelta(seconds=60)
    tick: timedelta = timedelta(seconds=15)
    max_pod_age: timedelta | None = None
    idle_stops: bool = False  # idle pods are stopped, not destroyed, if the provider can stop
    max_stopped: timedelta | None = None
    max_hourly_usd: Decimal | None = None
    daily_budget_usd: Decimal | None = None
    total_budget_usd: Decimal | None = None
    min_busy_percent: int = 50  # 0: off
    batch_size: int = 64  # items
    tolerated_failure_percent: int = 5  # of the rows of a dataset; 100: all
    mode: Mode = Mode.RUNNING
    override: Override | None = None
    installation: Caps = Caps()
    installation_mode: Mode = Mode.RUNNING
    sample: Sampling | None = None  # None: no quote measures a pod
    goal: Goal = Goal.DEMAND
    drain_by: datetime | None = None  # of the goal DEADLINE
    budget_usd: Decimal | None = None  # of the goal BUDGET
    budget_from_usd: Decimal = Decimal(0)  # what the fleet had spent when that budget was set


class Rule(StrEnum):
    """The rules of a decision, as its steps name them: the wish first, then the guardrails."""

    OVERRIDE = "override"
    UNKNOWN = "unknown"
    DEMAND = "demand"
    DRAIN_BY = "drain_by"
    GOAL_BUDGET = "goal_budget"
    CHEAPEST = "cheapest"
    MIN_INSTANCES = "min_instances"
    NEW_CODE = "new_code"
    STOP_ALL = "stop_all"
    PAUSED = "paused"
    SAMPLE = "sample"
    MAX_INSTANCES = "max_instances"
    ROOM = "room"
    INSTALLATION_INSTANCES = "installation_instances"
    MAX_HOURLY_USD = "max_hourly_usd"
    INSTALLATION_HOURLY_USD = "installation_hourly_usd"
    DAILY_BUDGET_USD = "daily_budget_usd"
    TOTAL_BUDGET_USD = "total_budget_usd"
    INSTALLATION_DAILY_BUDGET = "installation_daily_budget"
    BUDGET_USD = "budget_usd"
    CANARY = "canary"
    BRAKE = "brake"
    ALL_FAIL = "all_fail"
    TOLERATED_FAILURE_PERCENT = "tolerated_failure_percent"
    MIN_BUSY_PERCENT = "min_busy_percent"
    TAKEABLE = "takeable"
    RANGES = "ranges"
    WORTH_BOOTING = "worth_booting"
    NO_OFFERS = "no_offers"
    SPAWN_PER_TICK = "spawn_per_tick"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one rule did in a decision: the number of pods before it and after it."""

    rule: Rule
    before: int
    after: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """A pod to retire."""

    pod_id: int
    rule: PodRule
    because: str
    stop: bool = False  # stop it and keep its disk, if the provider can do that


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPod:
    """A start: a new pod on an offer."""

    offer: OfferFacts
    takes_place: ClassVar[bool] = True

    @property
    def hourly_usd(self) -> Decimal:
        """USD/hour that this pod adds."""
        return self.offer.hourly_usd

    @property
    def because(self) -> str:
        """Why this offer was chosen."""
        return self.offer.because


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePod:
    """A start: a stopped pod that runs again."""

    pod_id: int
    hourly_usd: Decimal  # what it adds to the rent of its disk
    because: str
    takes_place: ClassVar[bool] = False  # it already has a place among the pods that may bill


Start = NewPod | ResumePod


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one tick does, and why."""

    depth: int | None
    active: int  # pods that work or will work, before this tick
    desired: int  # clamp(ceil(depth / target_depth_per_pod), min_instances, max_instances)
    target: int  # pods after every guardrail: what this tick moves towards
    steps: Sequence[Step]
    spawn: Sequence[NewPod] = ()
    resume: Sequence[ResumePod] = ()
    retire: Sequence[Retire] = ()
    binding: Rule | None = None  # the last rule that lowered the target below the wish
    # Every guardrail that alone would keep the pods below the wish and below `max_instances`.
    holding: Sequence[Rule] = ()
    trouble: str = ""  # what fails again and again, for people; "": nothing does
    risk: str = ""  # why the goal may be missed, and what would help; "": nothing is known to
    impossible: bool = False  # the goal cannot be reached with these settings
    sentence: str = ""

    @property
    def because(self) -> str:
        """Why there are not more pods, as the binding rule says; "": there are enough."""
        return next((s.because for s in self.steps if s.rule is self.binding), "")
