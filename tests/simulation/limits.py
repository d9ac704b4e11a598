"""The guardrails as invariants: S1, S2 and S3 of each fleet and of the installation, and S15."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fleet.decision.values import Goal
from fleet.models import Fleet, Limits, Tick
from fleet.money import spending
from fleet.tick.recording import replayed
from pods.base.clock import utcnow
from pods.diagnosis import INFERRED
from pods.health import INFERRED_SHARE, INFERRED_WINDOW
from pods.models import Orphan, Pod, PodEvent
from pods.states import BILLABLE, READY, REQUESTED, STOPPED, PodState

BUDGETS: Final = ("total_budget_usd", "daily_budget_usd")
LIMITS: Final = (
    *("max_instances", "min_instances", "spawn_per_tick", "min_busy_percent", "max_hourly_usd"),
    *(*BUDGETS, "goal"),
)
WINDOW: Final = timedelta(seconds=30)
WAITS: Final = {"link", "feed"}
ILL_RULES: Final = frozenset(finding.value for finding in INFERRED)
LONGEST_TICK: Final = timedelta(minutes=10)  # with the time that it was frozen


class Violated(AssertionError):
    """An invariant does not hold."""


class Row(NamedTuple):
    """What the checks need of a pod's row."""

    pk: int
    state: str
    provider: str
    external_id: str | None
    client_token: Any
    hourly_usd: Decimal
    stopped_hourly_usd: Decimal
    fleet_id: int

    @property
    def bills(self) -> bool:
        """Whether it may bill."""
        return PodState(self.state) in BILLABLE


def rows() -> list[Row]:
    """All pods, in the order of their keys."""
    return [Row(*values) for values in Pod.objects.order_by("pk").values_list(*Row._fields)]


class Guardrails:
    """Checks that a tick passed no limit when it started pods."""

    def __init__(self, fleets: Sequence[Fleet], *, slack: timedelta) -> None:
        """`slack`: by how much the times that two hosts wrote may differ."""
        self._slack = slack
        self._ids = [fleet.pk for fleet in fleets]
        # Before the step, after each edit in it, and now.
        self._edits: dict[int, list[Any]] = {pk: [] for pk in self._ids}
        self._installation: list[Any] = []
        self._tick = 0
        self._inferred: dict[int, list[datetime]] = {pk: [] for pk in self._ids}
        self._most_pods: dict[int, list[tuple[datetime, int]]] = {pk: [] for pk in self._ids}
        self.edited()

    def edited(self) -> None:
        """Remember the edited guardrails: the tick that runs may have read the ones before."""
        for fleet in Fleet.objects.only(*LIMITS):
            self._edits[fleet.pk].append(fleet)
        self._installation.append(Limits.get())

    def check(self, pods: Sequence[Row], events: Sequence[PodEvent]) -> None:
        """Check the ticks and the events since the check before.

        Raises:
            Violated: with the invariant's name.
        """
        self.edited()  # an operator's request that is frozen after its edit has not said so yet
        ticks: dict[int, list[Tick]] = {pk: [] for pk in self._ids}
        wanted = ("fleet_id", "spawned", "depth", "at", "active", "snapshot")
        for tick in Tick.objects.filter(pk__gt=self._tick).only(*wanted).order_by("pk"):
            self._tick = tick.pk
            ticks[tick.fleet_id].append(tick)
        fleet_of = {row.pk: row.fleet_id for row in pods}
        new = {e.pod_id for e in events if e.by == "tick" and e.after == REQUESTED.value}
        found = {e.pod_id for e in events if e.by == "reconcile"}
        for pk in self._ids:
            mine = [row for row in pods if row.fleet_id == pk]
            born = [row for row in mine if row.pk in new]
            self._check_ticks(ticks[pk], born, self._edits[pk])
            self._check_use(ticks[pk], self._edits[pk])
            bill = [row for row in mine if row.bills and row.pk not in found]
            if born:
                self._check_caps(bill, ticks[pk], self._edits[pk], pk)
                self._check_budgets(born, self._edits[pk], pk)
            self._check_inferred(pk, [e for e in events if fleet_of[e.pod_id] == pk], len(bill))
        if new:
            bill = [row for row in pods if row.bills and row.pk not in found]
            self._check_caps(bill, [t for ts in ticks.values() for t in ts], self._installation)
            self._check_budgets([r for r in pods if r.pk in new], self._installation)
        for edits in (*self._edits.values(), self._installation):
            del edits[:-1]

    @staticmethod
    def _check_ticks(ticks: Sequence[Tick], born: Sequence[Row], edits: Sequence[Any]) -> None:
        most = max(f.spawn_per_tick for f in edits)
        for tick in ticks:
            if tick.spawned > most:
                raise Violated(f"S3: {tick.spawned} new pods in a tick; spawn_per_tick is {most}")
            if tick.spawned and tick.depth is None:
                raise Violated("S3: new pods on an unknown backlog")
        if len(born) != sum(t.spawned for t in ticks):
            raise Violated(f"S3: {len(born)} new rows, the ticks say {[t.spawned for t in ticks]}")

    @staticmethod
    def _check_use(ticks: Sequence[Tick], edits: Sequence[Any]) -> None:
        """Check that no pod started while all that are there waited for the link or for items."""
        least = min(f.min_busy_percent for f in edits) / 100
        asked = max(f.min_instances for f in edits)
        for tick in ticks:
            seen = replayed(tick.snapshot) if tick.spawned else None
            if seen is None or seen.waiting_for is None or seen.waiting_for < WINDOW:
                continue
            ready = [p for p in seen.pods if p.state is READY and p.busy is not None]
            known = [p for p in ready if p.ready_for is not None and p.ready_for >= WINDOW]
            shares = [p.busy for p in known if p.bottleneck in WAITS and p.busy is not None]
            wait = known and len(shares) == len(known) and max(shares) < least
            if wait and tick.active + tick.spawned > asked:
                raise Violated(f"S3: {tick.spawned} new pods, while those there work {shares}")

    def _check_caps(
        self,
        bill: Sequence[Row],
        ticks: Sequence[Tick],
        edits: Sequence[Any],
        fleet: int | None = None,
    ) -> None:
        """Check what bills; orphans count that were known when the ticks counted, and still are."""
        known = Orphan.objects.filter(
            gone_at=None, first_seen_at__lt=min(t.at for t in ticks if t.spawned) - self._slack
        )
        orphans = known.count() if fleet is None else known.filter(fleet_id=fleet).count()
        whose, count = f"fleet {fleet}" if fleet else "installation", len(bill) + orphans
        caps = [f.max_instances for f in edits]
        if None not in caps and count > max(caps):
            raise Violated(
                f"S1: {count} pods ({orphans} orphans) with max_instances {caps}: {whose}"
            )
        ceilings = [f.max_hourly_usd for f in edits]
        prices = (r.stopped_hourly_usd if r.state == STOPPED.value else r.hourly_usd for r in bill)
        hourly = sum(prices, Decimal(0))
        if None not in ceilings and hourly > max(ceilings):
            raise Violated(f"S2: ${hourly}/h with max_hourly_usd {ceilings}: {whose}")

    def _check_budgets(
        self, new: Sequence[Row], edits: Sequence[Any], fleet: int | None = None
    ) -> None:
        """Check that the budgets had an hour of each new pod left, with a tolerance.

        The money is read after the tick, which may have been frozen meanwhile: hence the tolerance.
        """
        limits: Mapping[str, list[Any]] = {
            name: [getattr(limit, name, None) for limit in edits] for name in BUDGETS
        }
        if all(None in budgets for budgets in limits.values()):
            return
        spent = spending.spent(utcnow(), fleet_id=fleet)
        # With a goal less than an hour is reserved, so that replacements near the end are not refused.
        hour = sum((r.hourly_usd for r in new if not self._has_goal(r.fleet_id)), Decimal(0))
        running = sum(Pod.objects.billable().values_list("hourly_usd", flat=True), Decimal(0))
        for name, so_far in zip(BUDGETS, (spent.total, spent.today), strict=True):
            budgets = limits[name]
            if None in budgets:
                continue
            if so_far + hour > max(budgets) + cost(running, LONGEST_TICK + self._slack):
                raise Violated(
                    f"S2: ${so_far:.4f} spent, ${hour} for an hour of the new; {name} {budgets}"
                )

    def _has_goal(self, fleet: int) -> bool:
        return any(f.goal != Goal.DEMAND.value for f in self._edits[fleet])

    def _check_inferred(self, fleet: int, events: Sequence[PodEvent], pods: int) -> None:
        if self._slack:
            return  # hosts whose clocks differ do not agree on the window
        now, most_pods = utcnow(), self._most_pods[fleet]
        most_pods = [(t, n) for t, n in most_pods if now - t < 2 * INFERRED_WINDOW]
        most_pods.append((now, pods))
        inferred = self._inferred[fleet] + [
            e.at for e in events if e.by == "health" and e.after and e.rule in ILL_RULES
        ]
        inferred = [t for t in inferred if now - t < INFERRED_WINDOW]
        self._most_pods[fleet], self._inferred[fleet] = most_pods, inferred
        count, most = len(inferred), max(n for _, n in most_pods)
        if count > max(1, int((most + count) * INFERRED_SHARE)):
            raise Violated(f"S15: {count} of {most} pods were ended on inference")


def cost(hourly_usd: Decimal, time: timedelta) -> Decimal:
    """USD for this time at this price."""
    return hourly_usd * Decimal(time.total_seconds()) / 3600
