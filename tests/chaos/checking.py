"""Checks the guardrails while faults occur, and the items, pods and bills afterwards."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

from pods.models import MICROS
from pods.states import BILLABLE, ENDED, PodState, may_move
from tests.chaos.system import CEILING_USD, FLEETS, MOST_PODS, System

_STATES: Final = ", ".join(f"'{s.value}'" for s in sorted(BILLABLE))
_BILLING: Final = (
    "SELECT f.name, count(*), sum(p.hourly_usd) FROM pods_pod p JOIN fleet_fleet f"
    f" ON f.id = p.fleet_id WHERE p.state IN ({_STATES}) GROUP BY f.name"
)
_SPAWNED: Final = "SELECT count(*) FROM fleet_tick WHERE spawned > 1"
_EVENTS: Final = "SELECT pod_id, before, after FROM pods_podevent WHERE after <> '' ORDER BY id"
_PODS: Final = "SELECT id, state, external_id FROM pods_pod"
_LEDGER: Final = (
    "SELECT p.id, p.provider, p.external_id, max(s.hourly_usd), sum(s.cost_micros), sum(CASE WHEN s.id IS NOT NULL AND s.until IS NULL THEN 1 ELSE 0 END)"
    " FROM pods_pod p LEFT JOIN pods_pricesegment s ON s.pod_id = p.id"
    " WHERE p.provider <> 'local' AND p.external_id IS NOT NULL"
    " GROUP BY p.id, p.provider, p.external_id"
)
_ALERTS: Final = "SELECT cause, subject FROM fleet_alert WHERE resolved_at IS NULL"
# How far the ledger may be below a bill: a machine is booked at most one tick after it began. And
# how far above it: among all these faults it takes time to notice that a machine is gone.
SHORT_SECONDS: Final = 60.0
OVER_SECONDS: Final = 900.0
_KILLS: Final = ("killed", "crashed", "Redis lost")


@dataclass(slots=True, kw_only=True)
class Report:
    """The figures of one run."""

    seed: int
    database: str = ""
    seconds: int = 0  # with faults
    rest_seconds: int = 0  # from the last fault until all items were done and all pods gone
    faults: int = 0
    kills: int = 0
    faults_by_kind: dict[str, int] = field(default_factory=dict)
    never_caused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # faults that this machine does not allow
    most_machines: int = 0  # of one fleet at once; not more than max_instances
    guardrail_checks: int = 0
    guardrails_passed: list[str] = field(default_factory=list)
    came_to_rest: bool = False
    items: int = 0
    flushed: int = 0  # lost with an emptied Redis, and enqueued again by their owner
    lost: int = 0
    duplicates: int = 0
    dead: int = 0
    pending: int = 0
    pods: int = 0
    leaks: list[str] = field(default_factory=list)
    billed_usd: str = "0"  # by the emulated vendors, for the machines that have a row
    booked_usd: str = "0"  # in the ledger, for the same
    most_short_seconds: float = 0.0  # ledger below the bill, in seconds of the pod's price
    most_over_seconds: float = 0.0  # ledger above the bill
    wrong_ledgers: list[str] = field(default_factory=list)
    illegal_moves: list[str] = field(default_factory=list)
    open_alerts: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The figures as a dict for JSON."""
        return asdict(self)

    def passed(self) -> bool:
        """Whether no item, pod, move, limit or ledger is wrong."""
        bad = [self.guardrails_passed, self.leaks, self.illegal_moves, self.wrong_ledgers]
        return self.came_to_rest and not (self.lost or self.dead or self.pending or any(bad))


def count_faults(report: Report, caused: Mapping[str, int]) -> None:
    """Put the number of faults of each kind into the report, the most frequent first."""
    report.faults_by_kind = dict(sorted(caused.items(), key=lambda pair: (-pair[1], pair[0])))
    report.faults = sum(caused.values())
    report.kills = sum(n for kind, n in caused.items() if kind.startswith(_KILLS))


def check_guardrails(system: System, report: Report) -> None:
    """Check the guardrails once; skip the rows if the database does not answer."""
    machines = {vendor.fleet: len(vendor.living()) for vendor in system.vendors}
    machines["own"] = len(system.own_machines())
    report.guardrails_passed += [
        f"{n} machines of {fleet}; max_instances {MOST_PODS}"
        for fleet, n in machines.items()
        if n > MOST_PODS
    ]
    report.most_machines = max(report.most_machines, *machines.values())
    try:
        billing, ((spawned,),) = system.rows.select(_BILLING), system.rows.select(_SPAWNED)
    except system.rows.errors:
        return
    report.guardrail_checks += 1
    for fleet, count, usd in billing:
        if count > MOST_PODS:
            report.guardrails_passed.append(f"{count} pods of {fleet}; max_instances {MOST_PODS}")
        if Decimal(str(usd or 0)) > Decimal(CEILING_USD):
            report.guardrails_passed.append(f"{fleet}: ${usd}/h; max_hourly_usd {CEILING_USD}")
    if spawned:
        report.guardrails_passed.append(f"{spawned} ticks started more than one pod")


def at_rest(system: System) -> bool:
    """Whether all items are done, no pod bills and no agent runs."""
    return not system.open_items() and not system.rows.select(_BILLING) and not system.own_agents()


def check_end_state(system: System, report: Report) -> None:
    """Put what is left into the report: items, machines, bills, moves and alerts."""
    for fleet in FLEETS:
        found = system.results(fleet)
        report.items += len(system.fed[fleet])
        report.lost += len(system.fed[fleet] - set(found))
        report.duplicates += len(found) - len(set(found))
        report.dead += system.redis.xlen(f"items-{fleet}:dead")
    report.flushed = system.flushed
    report.pending = system.open_items()
    pods = system.rows.select(_PODS)
    report.pods = len(pods)
    report.leaks += [f"process {p.pid}" for p in system.own_agents()]
    for vendor in system.vendors:
        report.leaks += [f"{vendor.title}: {machine}" for machine in vendor.living()]
    _check_money(system, report)
    states: dict[int, str] = defaultdict(str)
    for pod, before, after in system.rows.select(_EVENTS):
        moved = before == states[pod] and (
            not before or may_move(PodState(before), PodState(after))
        )
        if not moved:
            report.illegal_moves.append(f"pod {pod}: {states[pod]}; {before} → {after}")
        states[pod] = after
    ended = {s.value for s in ENDED}
    for pod, state, _ in pods:
        if states[pod] != state or state not in ended:
            report.illegal_moves.append(f"pod {pod} is {state}, its events say {states[pod]}")
    report.open_alerts = [f"{cause} {subject}" for cause, subject in system.rows.select(_ALERTS)]


def _check_money(system: System, report: Report) -> None:
    """Compare the ledger of each rented pod with its vendor's bill (S12)."""
    billed_usd = booked_usd = Decimal(0)
    vendors = {vendor.provider: vendor for vendor in system.vendors}
    for pod, provider, machine, hourly_usd, micros, still_open in system.rows.select(_LEDGER):
        billed = vendors[provider].billed_usd(machine)
        booked = Decimal(micros or 0) / MICROS
        billed_usd, booked_usd = billed_usd + billed, booked_usd + booked
        seconds = float((billed - booked) / Decimal(str(hourly_usd or 1)) * 3600)
        report.most_short_seconds = round(max(report.most_short_seconds, seconds), 1)
        report.most_over_seconds = round(max(report.most_over_seconds, -seconds), 1)
        if still_open or seconds > SHORT_SECONDS or -seconds > OVER_SECONDS:
            report.wrong_ledgers.append(f"pod {pod}: billed ${billed:.5f}, booked ${booked:.5f}")
    report.billed_usd, report.booked_usd = f"{billed_usd:.4f}", f"{booked_usd:.4f}"
