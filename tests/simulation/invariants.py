"""The invariants that must hold after every step (S1, S2 … of docs/explanation/reliability.md)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count

from fleet.models import Alert, Tick
from pods.base.clock import utcnow
from pods.models import Pod, PodEvent
from pods.states import CREATING, ENDED, READY, REQUESTED, PodState, may_move
from tests.simulation.agents import BROKEN, Agents
from tests.simulation.bills import check_bills
from tests.simulation.limits import Guardrails, Row, Violated, rows
from tests.simulation.range_agents import RangeAgents
from tests.simulation.repeats import Repeats
from tests.simulation.texts import secrets_in_rows
from tests.simulation.vendors import KEY, Machine, Vendor
from tests.simulation.worker import Worker

KNOWN_WITHIN: Final = timedelta(minutes=2)  # the vendors' consistency window
RECONCILIATIONS: Final = 14  # of an account that may fail one after another
HEARD_WITHIN: Final = timedelta(minutes=10)
OPENING: Final = (REQUESTED.value, CREATING.value)
OVER: Final = frozenset(s.value for s in ENDED)
# The states of a pod that an operator has ended; while its create runs, its row says so.
ENDING: Final = frozenset({"creating", "draining", "terminating", *OVER})


class Invariants:
    """Compares rows, events, machines, items and money after each step."""

    def __init__(
        self,
        vendors: Sequence[Vendor],
        agents: Sequence[Agents],
        worker: Worker,
        *,
        clocks_differ_by: timedelta = timedelta(0),
    ) -> None:
        self._vendors, self._agents, self._worker = vendors, agents, worker
        self._slack = 2 * clocks_differ_by
        self._guardrails = Guardrails([a.fleet for a in agents], slack=self._slack)
        self._repeats = Repeats(slack=self._slack)
        self._event = 0
        self._states: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._unknown: dict[str, tuple[datetime, int]] = {}
        self.reconciliations = 0
        self.beat_was_silent = timedelta(0)  # in this time nothing could be noticed
        self.missing = 0  # rows that may bill, but their machine is gone
        self.ended_by_operators: set[int] = set()  # the pods that operators have ended
        self._kept = {v.name: v.unowned if v.adopts else set[str]() for v in vendors}

    @property
    def unknown(self) -> int:
        """The number of machines that bill and have no row now."""
        return len(self._unknown)

    def edited(self) -> None:
        """Remember the edited guardrails: the tick that runs may have read the ones before."""
        self._guardrails.edited()

    def check(self) -> None:
        """Check everything that is cheap to check.

        Raises:
            Violated: with the invariant's name.
        """
        pods = rows()
        events = list(PodEvent.objects.filter(pk__gt=self._event).order_by("pk"))
        self._check_events(pods, events)
        machines = {v.name: {m.id: m for m in v.machines()} for v in self._vendors}
        self._check_machines(pods, events, machines)
        self._check_operators(pods)
        self._guardrails.check(pods, events)
        self._repeats.check(events)
        self._check_items()

    def _check_events(self, pods: Sequence[Row], events: Sequence[PodEvent]) -> None:
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
        holders: dict[tuple[str, str], int] = {}
        for row in pods:
            pk, external_id = row.pk, row.external_id
            if self._states.get(pk) != row.state:
                raise Violated(
                    f"S6: pod {pk} is {row.state}, its events say {self._states.get(pk)}"
                )
            if external_id is None:
                continue
            if self._ids.setdefault(pk, external_id) != external_id:
                raise Violated(f"S5: pod {pk} was {self._ids[pk]} and is {external_id}")
            if holders.setdefault((row.provider, external_id), pk) != pk:
                raise Violated(f"S5: two rows have {external_id}")

    def _check_machines(
        self,
        pods: Sequence[Row],
        events: Sequence[PodEvent],
        machines: Mapping[str, Mapping[str, Machine]],
    ) -> None:
        ended_now = {e.pod_id for e in events if e.after in OVER}
        owned = {(r.provider, r.external_id) for r in pods if r.state not in OVER}
        for row in pods:
            if row.pk not in ended_now or row.external_id not in machines[row.provider]:
                continue
            vendor = next(v for v in self._vendors if v.name == row.provider)
            lied = row.external_id in vendor.misreported or vendor.hidden(str(row.external_id))
            if (row.provider, row.external_id) not in owned and not lied:
                raise Violated(f"S4: pod {row.pk} is {row.state} and {row.external_id} lives")
        here = {(name, machine) for name, found in machines.items() for machine in found}
        self.missing = len({pair for pair in owned if pair[1] is not None} - here)
        self._check_tokens(pods, machines)
        tokens = {r.client_token.hex for r in pods if r.state in OPENING}
        before, self._unknown = self._unknown, {}
        for vendor in self._vendors:
            self._find_unknown(vendor, machines[vendor.name], owned, tokens, before)
        for machine_id, (since, count) in self._unknown.items():
            late = utcnow() - since > KNOWN_WITHIN
            if late and self.reconciliations - count > RECONCILIATIONS * len(self._vendors):
                raise Violated(f"S4: {machine_id} bills, unknown since {since:%d %H:%M:%S}")

    def _find_unknown(
        self,
        vendor: Vendor,
        here: Mapping[str, Machine],
        owned: set[tuple[str, str | None]],
        tokens: set[str],
        before: Mapping[str, tuple[datetime, int]],
    ) -> None:
        """Find the machines that bill without a row, and those that are missing but must be kept."""
        kept = self._kept[vendor.name]
        if not vendor.foreign | kept <= here.keys():
            gone = (vendor.foreign | kept) - here.keys()
            raise Violated(f"S7: {gone} is not ours, or has no fleet and is kept, and was ended")
        for machine in here.values():
            known = (vendor.name, machine.id) in owned or machine.id in vendor.foreign | kept
            if known or machine.name.rpartition("-")[2] in tokens:
                continue
            first = (utcnow(), self.reconciliations)
            # Nobody can know of a hidden machine: the time counts from its return on.
            hidden = vendor.hidden(machine.id)
            self._unknown[machine.id] = first if hidden else before.get(machine.id, first)

    def _check_tokens(
        self, pods: Sequence[Row], machines: Mapping[str, Mapping[str, Machine]]
    ) -> None:
        """Check that a token has one machine at a time.

        There is one exception: a create request that was frozen until the next claim had sent its own.
        Its machine is then unknown, and must be found like any other.
        """
        late = {
            r.client_token.hex for r in pods if f"pods.spawn({r.pk},)" in self._worker.late_creates
        }
        for vendor in self._vendors:
            named: dict[str, str] = {}
            for machine in machines[vendor.name].values():
                token = machine.name.rpartition("-")[2]
                other = named.setdefault(machine.name, machine.id)
                if other != machine.id and token not in late and len(token) == 32:
                    raise Violated(f"S5: {other} and {machine.id} are both {machine.name}")

    def _check_operators(self, pods: Iterable[Row]) -> None:
        """Check that no pod that an operator has ended works again (S18)."""
        for row in pods:
            if row.pk in self.ended_by_operators and row.state not in ENDING:
                raise Violated(f"S18: an operator ended pod {row.pk}, and it is {row.state}")

    def _check_items(self) -> None:
        for agents in self._agents:
            if isinstance(agents, RangeAgents):
                agents.check()
                continue
            if agents.tries.wrongly_dead:
                raise Violated(f"S16: good items are dead letters: {agents.tries.wrongly_dead}")
            fleet, client = agents.fleet, agents.server.client
            if not client.exists(fleet.stream):
                continue
            groups = client.xinfo_groups(fleet.stream)
            seen = next((g for g in groups if g["name"] == fleet.group.encode()), None)
            if seen is None or seen["lag"] is None:
                continue
            if seen["lag"] + seen["pending"] != agents.left:
                raise Violated(
                    f"S9: {seen['lag']} wait and {seen['pending']} are pending, "
                    f"{agents.left} are not done of {fleet}"
                )

    def check_settled(self, *, beats: bool) -> None:
        """Check bills, alerts, texts and signs of life, when there were no faults for a while.

        `beats`: beat sent its tasks for long enough.

        Raises:
            Violated: with the invariant's name.
        """
        doubled = (
            Alert.objects.open().values("cause", "subject").annotate(n=Count("pk")).filter(n__gt=1)
        )
        if doubled.exists():
            raise Violated(f"S11: {list(doubled)}")
        check_bills(
            {v.name: v for v in self._vendors}, slack=self._slack, unnoticed=self.beat_was_silent
        )
        if leaks := list(secrets_in_rows([KEY])):
            raise Violated(f"S13: a secret is in {leaks}")
        if beats:
            self._check_heard()
            for agents in self._agents:
                self._repeats.check_alerts(agents.fleet, BROKEN)

    def _check_heard(self) -> None:
        """Check that a server that died hides only its own fleets: the others are decided on (S14)."""
        for agents in self._agents:
            if agents.server.dead:
                continue
            tick = Tick.objects.filter(fleet=agents.fleet).order_by("-pk").first()
            if tick is None or utcnow() - tick.at > HEARD_WITHIN + self._slack:
                raise Violated(f"S14: nothing was decided on {agents.fleet} since {tick}")
            if tick.depth is None:
                raise Violated(f"S14: the backlog of {agents.fleet} is unknown: {tick.sentence}")
            pods = Pod.objects.filter(fleet=agents.fleet, state=READY.value)
            for pod in pods.filter(state_since__lt=utcnow() - HEARD_WITHIN):
                if pod.heard_since is None:
                    raise Violated(f"S14: the Redis of pod {pod.pk} is not read")
