"""The invariants that must hold after every step (S1, S2 … of docs/explanation/reliability.md)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import redis
from django.db.models import Count

from fleet.models import Alert, Fleet, Tick
from fleet.money import spending
from pods.base.clock import utcnow
from pods.diagnosis import INFERRED
from pods.health import INFERRED_SHARE, INFERRED_WINDOW
from pods.models import MICROS, Orphan, Pod, PodEvent, PriceSegment
from pods.states import BILLABLE, CREATING, ENDED, REQUESTED, STOPPED, PodState, may_move
from tests.simulation.agents import Agents
from tests.simulation.vendors import Vendor
from tests.simulation.worker import Worker

KNOWN_WITHIN: Final = timedelta(minutes=2)  # the vendors' consistency window
RECONCILIATIONS: Final = 14  # of an account that may fail one after another
UNDER_COUNTED: Final = timedelta(seconds=50)  # a tick and a step (33 s while a worker is frozen)
OVER_COUNTED: Final = timedelta(minutes=30)  # it takes time to notice that a machine is gone
BUDGETS: Final = ("total_budget_usd", "daily_budget_usd")
LIMITS: Final = ("max_instances", "spawn_per_tick", "max_hourly_usd", *BUDGETS)
ILL_RULES: Final = frozenset(finding.value for finding in INFERRED)
LONGEST_TICK: Final = timedelta(minutes=10)  # with the time that it was frozen
OPENING: Final = (REQUESTED.value, CREATING.value)


class Violated(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Compares rows, events, machines, items and money after each step."""

    def __init__(
        self,
        vendors: Sequence[Vendor],
        fleet: Fleet,
        agents: Agents,
        client: "redis.Redis",
        worker: Worker,
    ) -> None:
        self._vendors, self._agents, self._redis = vendors, agents, client
        self._worker = worker
        self._fleet = fleet
        self._event, self._tick = 0, 0
        self._states: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._unknown: dict[str, tuple[datetime, int]] = {}
        self._limits = [fleet]  # before the step, after each edit in it, and now
        self._orphans: set[int] = set()  # open before the step
        self._inferred: list[datetime] = []
        self.reconciliations = 0
        self.beat_was_silent = timedelta(0)  # in this time nothing could be noticed
        self.missing = 0  # rows that may bill, but their machine is gone
        self._most_pods: list[tuple[datetime, int]] = []

    @property
    def unknown(self) -> int:
        """The number of machines that bill and have no row now."""
        return len(self._unknown)

    def edited(self) -> None:
        """Remember the edited guardrails: the tick that runs may have read the ones before."""
        self._limits.append(Fleet.objects.only(*LIMITS).get(pk=self._fleet.pk))

    def check(self) -> None:
        """Check everything that is cheap to check.

        Raises:
            Violated: with the invariant's name.
        """
        rows = list(
            Pod.objects.order_by("pk").values_list(
                "pk", "state", "provider", "external_id", "client_token",
                "hourly_usd", "stopped_hourly_usd",
            )
        )  # fmt: skip
        self.edited()  # test_stateful.py edits without Operators
        events = list(PodEvent.objects.filter(pk__gt=self._event).order_by("pk"))
        self._check_events(rows, events)
        machines = {v.name: {m.id: m for m in v.machines()} for v in self._vendors}
        self._check_machines(rows, events, machines)
        self._check_limits(rows, events)
        del self._limits[:-1]
        self._check_items()

    def _check_events(self, rows: Sequence[Any], events: Sequence[PodEvent]) -> None:
        for event in events:
            self._event = event.pk
            if not event.after:
                continue
            before = self._states.get(event.pod_id, "")
            if event.before != before:
                raise Violated(
                    f"S6: pod {event.pod_id} was {before}, its event says {event.before}"
                )
            if before and not may_move(PodState(before), PodState(event.after)):
                raise Violated(
                    f"S6: pod {event.pod_id}: {before} → {event.after} is not a legal move"
                )
            self._states[event.pod_id] = event.after
        for pk, state, _, external_id, *_ in rows:
            if self._states.get(pk) != state:
                raise Violated(f"S6: pod {pk} is {state}, its events say {self._states.get(pk)}")
            if external_id is not None and self._ids.setdefault(pk, external_id) != external_id:
                raise Violated(f"S5: pod {pk} was {self._ids[pk]} and is {external_id}")

    def _check_machines(
        self, rows: Sequence[Any], events: Sequence[PodEvent], machines: Mapping[str, Any]
    ) -> None:
        ended = {s.value for s in ENDED}
        ended_now = {e.pod_id for e in events if e.after in ended}
        owned = {(r[2], r[3]) for r in rows if r[1] not in ended}
        tokens = {r[4].hex for r in rows if r[1] in OPENING}
        misreported = {v.name: v.misreported for v in self._vendors}
        for pk, state, provider, external_id, *_ in rows:
            lives = pk in ended_now and external_id in machines[provider]
            if (
                lives
                and (provider, external_id) not in owned
                and external_id not in misreported[provider]
            ):
                raise Violated(f"S4: pod {pk} is {state} and {external_id} lives")
        here = {(name, machine) for name, found in machines.items() for machine in found}
        self.missing = len({pair for pair in owned if pair[1] is not None} - here)
        self._check_tokens(rows, machines)
        before, self._unknown = self._unknown, {}
        for vendor in self._vendors:
            here = machines[vendor.name]
            if not vendor.foreign <= here.keys():
                raise Violated(f"S7: {vendor.foreign - here.keys()} is not ours and was ended")
            for machine in here.values():
                known = (vendor.name, machine.id) in owned or machine.id in vendor.foreign
                if not known and machine.name.rpartition("-")[2] not in tokens:
                    first = (utcnow(), self.reconciliations)
                    self._unknown[machine.id] = before.get(machine.id, first)
        for machine_id, (since, count) in self._unknown.items():
            late = utcnow() - since > KNOWN_WITHIN
            if late and self.reconciliations - count > RECONCILIATIONS * len(self._vendors):
                raise Violated(f"S4: {machine_id} bills, unknown since {since:%d %H:%M:%S}")

    def _check_tokens(self, rows: Sequence[Any], machines: Mapping[str, Any]) -> None:
        """Check that a token has one machine at a time.

        There is one exception: a create request that was frozen until the next claim had sent its own.
        Its machine is then unknown, and must be found like any other.
        """
        late = {r[4].hex for r in rows if f"pods.spawn({r[0]},)" in self._worker.late_creates}
        for vendor in self._vendors:
            named: dict[str, str] = {}
            for machine in machines[vendor.name].values():
                other = named.setdefault(machine.name, machine.id)
                if other != machine.id and machine.name.rpartition("-")[2] not in late:
                    raise Violated(f"S5: {other} and {machine.id} are both {machine.name}")

    def _check_limits(self, rows: Sequence[Any], events: Sequence[PodEvent]) -> None:
        ticks = list(Tick.objects.filter(pk__gt=self._tick).only("spawned", "depth").order_by("pk"))
        most = max(f.spawn_per_tick for f in self._limits)
        for tick in ticks:
            self._tick = tick.pk
            if tick.spawned > most:
                raise Violated(f"S3: {tick.spawned} new pods in a tick; spawn_per_tick is {most}")
            if tick.spawned and tick.depth is None:
                raise Violated("S3: new pods on an unknown backlog")
        new = [e for e in events if e.by == "tick" and e.after == REQUESTED.value]
        if len(new) != sum(t.spawned for t in ticks):
            raise Violated(f"S3: {len(new)} new rows, the ticks say {[t.spawned for t in ticks]}")
        bills = [r for r in rows if PodState(r[1]) in BILLABLE]
        found = {e.pod_id for e in events if e.by == "reconcile"}
        orphans = set(Orphan.objects.filter(gone_at=None).values_list("pk", flat=True))
        if new:
            self._orphans &= orphans  # an orphan that was seen to be gone in this step made room
            self._check_caps([r for r in bills if r[0] not in found])
            born = {e.pod_id for e in new}
            self._check_budgets([r for r in rows if r[0] in born])
        self._orphans = orphans
        self._check_inferred(events, len(bills))

    def _check_caps(self, bills: Sequence[Any]) -> None:
        count = len(bills) + (0 if self._unknown else len(self._orphans))
        most = max(f.max_instances for f in self._limits)
        if count > most:
            raise Violated(f"S1: {count} pods with max_instances {most}")
        ceilings = [f.max_hourly_usd for f in self._limits]
        hourly = sum((r[6] if r[1] == STOPPED.value else r[5] for r in bills), Decimal(0))
        if None not in ceilings and hourly > max(c for c in ceilings if c is not None):
            raise Violated(f"S2: ${hourly}/h with max_hourly_usd {ceilings}")

    def _check_budgets(self, new: Sequence[Any]) -> None:
        """Check that the budgets had an hour of each new pod left, with a tolerance.

        The money is read after the tick, which may have been frozen meanwhile: hence the tolerance.
        """
        spent = spending.spent(utcnow(), fleet_id=self._fleet.pk)
        hour = sum((r[5] for r in new), Decimal(0))
        running = sum(Pod.objects.billable().values_list("hourly_usd", flat=True), Decimal(0))
        for name, so_far in zip(BUDGETS, (spent.total, spent.today), strict=True):
            budgets = [getattr(limits, name) for limits in self._limits]
            if None in budgets:
                continue
            if so_far + hour > max(budgets) + _cost(running, LONGEST_TICK):
                raise Violated(
                    f"S2: ${so_far:.4f} spent, ${hour} for an hour of the new; {name} {budgets}"
                )

    def _check_inferred(self, events: Sequence[PodEvent], pods: int) -> None:
        now = utcnow()
        self._most_pods = [(t, n) for t, n in self._most_pods if now - t < 2 * INFERRED_WINDOW]
        self._most_pods.append((now, pods))
        self._inferred += [
            e.at for e in events if e.by == "health" and e.after and e.rule in ILL_RULES
        ]
        self._inferred = [t for t in self._inferred if now - t < INFERRED_WINDOW]
        count, most = len(self._inferred), max(n for _, n in self._most_pods)
        if count > max(1, int((most + count) * INFERRED_SHARE)):
            raise Violated(f"S15: {count} of {most} pods were ended on inference")

    def _check_items(self) -> None:
        stream, group = self._fleet.stream, self._fleet.group
        if not self._redis.exists(stream):
            return
        seen = next(
            (g for g in self._redis.xinfo_groups(stream) if g["name"] == group.encode()), None
        )
        if seen is None or seen["lag"] is None:
            return
        left = self._agents.left
        if seen["lag"] + seen["pending"] != left:
            raise Violated(
                f"S9: {seen['lag']} wait and {seen['pending']} are pending, {left} are not done"
            )

    def check_settled(self) -> None:
        """Check the bills and the alerts, when there have been no faults for a while.

        Raises:
            Violated: with the invariant's name.
        """
        doubled = (
            Alert.objects.open().values("cause", "subject").annotate(n=Count("pk")).filter(n__gt=1)
        )
        if doubled.exists():
            raise Violated(f"S11: {list(doubled)}")
        found = set(PodEvent.objects.filter(by="reconcile").values_list("pod_id", flat=True))
        booked: dict[int, Decimal] = {}
        highest_usd: dict[int, Decimal] = {}  # the highest price, to turn a difference into seconds
        for pk, micros, usd in PriceSegment.objects.exclude(until=None).values_list(
            "pod_id", "cost_micros", "hourly_usd"
        ):
            booked[pk] = booked.get(pk, Decimal(0)) + Decimal(micros) / MICROS
            highest_usd[pk] = max(highest_usd.get(pk, Decimal(0)), usd)
        vendors = {v.name: v for v in self._vendors}
        for pod in Pod.objects.filter(state__in=[s.value for s in ENDED]).exclude(external_id=None):
            vendor = vendors[pod.provider]
            if pod.pk in found or pod.external_id in vendor.misreported:
                continue
            price = highest_usd.get(pod.pk, pod.hourly_usd)
            bill, ledger = vendor.billed_usd(str(pod.external_id)), booked.get(pod.pk, Decimal(0))
            if bill - ledger > _cost(price, UNDER_COUNTED):
                raise Violated(
                    f"S12: pod {pod.pk} was billed ${bill:.5f}, the ledger has ${ledger:.5f}"
                )
            if ledger - bill > _cost(price, OVER_COUNTED + self.beat_was_silent):
                raise Violated(
                    f"S12: the ledger has ${ledger:.5f} for pod {pod.pk}, billed ${bill:.5f}"
                )


def _cost(hourly_usd: Decimal, time: timedelta) -> Decimal:
    return hourly_usd * Decimal(time.total_seconds()) / 3600
