"""Watches the guardrails while things break, and judges what is left afterwards."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

from pods.models import MICROS
from pods.states import BILLABLE, ENDED, PodState, may_move
from tests.chaos.stage import CEILING_USD, FLEETS, MOST_PODS, Stage

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
# What the ledger may lack of a bill: a machine is booked a tick after it began, at the latest; and
# what it may have above it: until it was noticed, beside all blows, that one was gone.
SHORT_SECONDS: Final = 60.0
OVER_SECONDS: Final = 900.0
_KILLS: Final = ("killed", "crashed", "Redis lost")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What a run came to."""

    seed: int
    database: str = ""
    seconds: int = 0  # of havoc
    rest_seconds: int = 0  # from its end until everything was done and everybody gone
    blows: int = 0
    kills: int = 0
    done: dict[str, int] = field(default_factory=dict)
    never_dealt: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # what this machine does not let us break
    most_machines: int = 0  # of one fleet at once; not more than max_instances
    looks: int = 0  # how often the guardrails were looked at
    guardrails_passed: list[str] = field(default_factory=list)
    came_to_rest: bool = False
    items: int = 0
    flushed: int = 0  # gone with an emptied Redis, and enqueued again by their owner
    lost: int = 0
    duplicates: int = 0
    dead: int = 0
    pending: int = 0
    pods: int = 0
    leaks: list[str] = field(default_factory=list)
    billed_usd: str = "0"  # by the emulated vendor, for the machines that had a row
    booked_usd: str = "0"  # in the ledger, for the same
    most_short_seconds: float = 0.0  # of a pod's price, of what it was billed
    most_over_seconds: float = 0.0
    wrong_ledgers: list[str] = field(default_factory=list)
    illegal_moves: list[str] = field(default_factory=list)
    open_alerts: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def faultless(self) -> bool:
        """Whether nothing went wrong that may not."""
        bad = [self.guardrails_passed, self.leaks, self.illegal_moves, self.wrong_ledgers]
        return self.came_to_rest and not (self.lost or self.dead or self.pending or any(bad))


def count(verdict: Verdict, done: Mapping[str, int]) -> None:
    """What was dealt, most of it first."""
    verdict.done = dict(sorted(done.items(), key=lambda pair: (-pair[1], pair[0])))
    verdict.blows = sum(done.values())
    verdict.kills = sum(n for kind, n in done.items() if kind.startswith(_KILLS))


def watch(stage: Stage, verdict: Verdict) -> None:
    """Look at the guardrails once; where the database does not answer, nothing is said."""
    machines = {vendor.fleet: len(vendor.living()) for vendor in stage.vendors}
    machines["own"] = len(stage.own_machines())
    verdict.guardrails_passed += [
        f"{n} machines of {fleet}; max_instances {MOST_PODS}"
        for fleet, n in machines.items()
        if n > MOST_PODS
    ]
    verdict.most_machines = max(verdict.most_machines, *machines.values())
    try:
        billing, ((spawned,),) = stage.rows.ask(_BILLING), stage.rows.ask(_SPAWNED)
    except stage.rows.errors:
        return
    verdict.looks += 1
    for fleet, count, usd in billing:
        if count > MOST_PODS:
            verdict.guardrails_passed.append(f"{count} pods of {fleet}; max_instances {MOST_PODS}")
        if Decimal(str(usd or 0)) > Decimal(CEILING_USD):
            verdict.guardrails_passed.append(f"{fleet}: ${usd}/h; max_hourly_usd {CEILING_USD}")
    if spawned:
        verdict.guardrails_passed.append(f"{spawned} ticks started more than one pod")


def at_rest(stage: Stage) -> bool:
    """Whether everything is done and everybody is gone."""
    return not stage.open_items() and not stage.rows.ask(_BILLING) and not stage.own_agents()


def judge(stage: Stage, verdict: Verdict) -> None:
    """What is left: items, machines, events, alerts."""
    for fleet in FLEETS:
        found = stage.results(fleet)
        verdict.items += len(stage.fed[fleet])
        verdict.lost += len(stage.fed[fleet] - set(found))
        verdict.duplicates += len(found) - len(set(found))
        verdict.dead += stage.redis.xlen(f"items-{fleet}:dead")
    verdict.flushed = stage.flushed
    verdict.pending = stage.open_items()
    pods = stage.rows.ask(_PODS)
    verdict.pods = len(pods)
    verdict.leaks += [f"process {p.pid}" for p in stage.own_agents()]
    for vendor in stage.vendors:
        verdict.leaks += [f"{vendor.title}: {machine}" for machine in vendor.living()]
    _judge_money(stage, verdict)
    states: dict[int, str] = defaultdict(str)
    for pod, before, after in stage.rows.ask(_EVENTS):
        moved = before == states[pod] and (
            not before or may_move(PodState(before), PodState(after))
        )
        if not moved:
            verdict.illegal_moves.append(f"pod {pod}: {states[pod]}; {before} → {after}")
        states[pod] = after
    ended = {s.value for s in ENDED}
    for pod, state, _ in pods:
        if states[pod] != state or state not in ended:
            verdict.illegal_moves.append(f"pod {pod} is {state}, its events say {states[pod]}")
    verdict.open_alerts = [f"{cause} {subject}" for cause, subject in stage.rows.ask(_ALERTS)]


def _judge_money(stage: Stage, verdict: Verdict) -> None:
    """The ledger of each rented pod beside what its vendor has billed for it (S12)."""
    billed_usd = booked_usd = Decimal(0)
    vendors = {vendor.provider: vendor for vendor in stage.vendors}
    for pod, provider, machine, hourly_usd, micros, still_open in stage.rows.ask(_LEDGER):
        billed = vendors[provider].billed_usd(machine)
        booked = Decimal(micros or 0) / MICROS
        billed_usd, booked_usd = billed_usd + billed, booked_usd + booked
        seconds = float((billed - booked) / Decimal(str(hourly_usd or 1)) * 3600)
        verdict.most_short_seconds = round(max(verdict.most_short_seconds, seconds), 1)
        verdict.most_over_seconds = round(max(verdict.most_over_seconds, -seconds), 1)
        if still_open or seconds > SHORT_SECONDS or -seconds > OVER_SECONDS:
            verdict.wrong_ledgers.append(f"pod {pod}: billed ${billed:.5f}, booked ${booked:.5f}")
    verdict.billed_usd, verdict.booked_usd = f"{billed_usd:.4f}", f"{booked_usd:.4f}"
