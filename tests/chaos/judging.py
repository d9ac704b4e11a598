"""Watches the guardrails while things break, and judges what is left afterwards."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

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
_ALERTS: Final = "SELECT cause, subject FROM fleet_alert WHERE resolved_at IS NULL"
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
    illegal_moves: list[str] = field(default_factory=list)
    open_alerts: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def faultless(self) -> bool:
        """Whether nothing went wrong that may not."""
        bad = [self.guardrails_passed, self.leaks, self.illegal_moves]
        return self.came_to_rest and not (self.lost or self.dead or self.pending or any(bad))


def count(verdict: Verdict, done: Mapping[str, int]) -> None:
    """What was dealt, most of it first."""
    verdict.done = dict(sorted(done.items(), key=lambda pair: (-pair[1], pair[0])))
    verdict.blows = sum(done.values())
    verdict.kills = sum(n for kind, n in done.items() if kind.startswith(_KILLS))


def watch(stage: Stage, verdict: Verdict) -> None:
    """Look at the guardrails once; where the database does not answer, nothing is said."""
    with stage.server.lock:
        rented = len(stage.runpod.living())
    machines = {"rented": rented, "own": len(stage.own_machines())}
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
    with stage.server.lock:
        verdict.leaks += [p.id for p in stage.runpod.living()]
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
