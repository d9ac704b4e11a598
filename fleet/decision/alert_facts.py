"""The values that the alert rules read and return. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum


class Severity(StrEnum):
    """How urgent an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The order of severities: the worse, the higher."""
        return list(Severity).index(self)


class Cause(StrEnum):
    """Why an alert is open."""

    POD_OLD = "pod_old"
    BUDGET_50 = "budget_50"
    BUDGET_80 = "budget_80"
    BUDGET_100 = "budget_100"
    CEILING = "ceiling"
    CIRCUIT_OPEN = "circuit_open"
    CREDENTIALS = "credentials"
    ORPHAN = "orphan"
    DESTROY_FAILS = "destroy_fails"
    BOOTS_FAIL = "boots_fail"
    NO_PODS = "no_pods"
    BACKLOG_UNKNOWN = "backlog_unknown"
    BACKLOG_GROWS = "backlog_grows"
    DEAD_LETTERS = "dead_letters"
    NOT_DRAINED = "not_drained"
    ALL_FAIL = "all_fail"
    ROWS_FAIL = "rows_fail"
    KEYS_NOT_ISSUED = "keys_not_issued"
    NO_TICK = "no_tick"
    BALANCE_LOW = "balance_low"
    REDIS_EVICTS = "redis_evicts"
    STOPPED = "stopped"
    GOAL_AT_RISK = "goal_at_risk"
    BUDGET_SHORT = "budget_short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing to announce. `(cause, subject)` identifies it; the text may change meanwhile."""

    cause: Cause
    subject: str  # "pod:7", "fleet:2", "account:1", "orphan:3", "installation"
    severity: Severity
    text: str
    fleet_id: int | None = None
    round: int = 1  # rises when the incident must be announced again


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod that may bill."""

    pod_id: int
    name: str
    fleet_id: int
    age: timedelta
    hourly_usd: Decimal
    terminating_for: timedelta | None = None  # None: it is not being destroyed
    tries: int = 0  # of the present step
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSeen:
    """What one tick saw and decided."""

    at: datetime
    depth: int | None  # None: unknown
    active: int
    ready: int
    binding: str = ""  # a Rule
    because: str = ""  # what that rule says, or why the depth is unknown
    spawned: int = 0
    ceiling: bool = False  # a ceiling alone would hold pods back
    risk: str = ""  # why the fleet's goal may be missed, and what would help
    items_per_second: float | None = None  # None: the rate was not measured, or cannot be


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSeen:
    """The last forecast of a fleet, made with its present deadline and not long ago."""

    drain_by: datetime | None
    on_time: float | None  # the share of the replays that make the deadline; None: there is none
    sure_at: datetime | None  # done by then in nine of ten cases; None: later than the replays go
    money_ends: float  # the share of the replays in which a budget ends before the backlog
    depth: int  # items at that time
    left: int  # items that are left in the replays that are not done
    held_by: str = ""  # the limit on money that makes it late, a Rule; "": none does


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSeen:
    """A fleet, its ticks of the last WINDOW and the one before these, oldest first."""

    fleet_id: int
    name: str
    alert_after: timedelta
    period: timedelta
    scheduled: bool  # whether beat should tick it at all
    undecided_for: timedelta  # since the last decision, or since beat ticks it
    max_instances: int
    held: bool = False  # an operator paused or stopped it, or the whole installation
    last_tick_at: datetime | None = None
    ticks: Sequence[TickSeen] = ()
    dead: int = 0  # dead letters that nobody has put back or deleted
    failing: int = 0  # pods of its template in a row that failed before they finished an item
    failing_because: str = ""  # of most of them
    trouble: str = ""  # both, as the last tick said it; "": it wished for no pod
    all_fail: bool | None = None  # the last tries of all ready pods failed; None: nobody knows
    all_fail_because: str = ""
    rows_fail: str = ""  # how many rows of its dataset failed, and three errors; "": not too many
    keys_fail: str = ""  # why the last try for short-lived keys failed; "": it did not
    keys_fail_for: timedelta = timedelta(0)
    keys_end: datetime | None = None  # the pods' present keys; None: they have none
    machines: int = 0  # that its pods have now, or got within the WINDOW
    refusals: Sequence[str] = ()  # why its last pods got no machine, by account
    # What is wrong with the policy of its Redis for a full memory. None: it never answered.
    evicts: str | None = ""
    open: Mapping[Cause, Incident] = field(default_factory=dict, hash=False)  # its open alerts
    spent_today_usd: Decimal = Decimal(0)
    spent_total_usd: Decimal = Decimal(0)
    daily_budget_usd: Decimal | None = None
    total_budget_usd: Decimal | None = None
    forecast: ForecastSeen | None = None  # None: there is none, or it is too old


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSeen:
    """An account at a provider."""

    account_id: int
    name: str
    open_until: datetime | None = None
    failures: int = 0
    last_error: str = ""  # for people
    last_error_kind: str = ""  # an ErrorKind
    balance_usd: Decimal | None = None  # None: unknown, which is not zero
    balance_fresh: bool = True  # False: it was read long ago
    open: Mapping[Cause, Incident] = field(default_factory=dict, hash=False)  # its open alerts
    hourly_usd: Decimal = Decimal(0)  # of all its machines that may bill


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanSeen:
    """A machine of ours without a row."""

    orphan_id: int
    name: str
    account: str
    hourly_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSeen:
    """That an operator stopped everything."""

    by: str
    at: datetime | None  # None: an older version did not write it down


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """Everything that the rules read."""

    now: datetime
    fleets: Sequence[FleetSeen] = ()
    pods: Sequence[PodSeen] = ()
    accounts: Sequence[AccountSeen] = ()
    orphans: Sequence[OrphanSeen] = ()
    stop: StopSeen | None = None  # None: the installation is not stopped
    installation_budget_usd: Decimal | None = None
    archived_today_usd: Decimal = Decimal(0)  # spent today by fleets that are archived by now
