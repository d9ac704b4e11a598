"""One seeded history: the manager's real verbs, an emulated RunPod, faults, and operators who edit.

One seed is one history. What a step did is kept in `trace`, for a person to read when an invariant
does not hold.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.conf import settings

from fleet import operating, ticking
from fleet.decision.values import Mode
from fleet.models import Fleet
from pods import dispatch, health, resuming, spawning, surveying, teardown, wiring
from pods.agent.protocol import AgentState
from pods.clock import utcnow
from pods.models import Orphan, Pod
from pods.providers.errors import ProviderError
from pods.states import CREATING, ENDED, REQUESTED
from tests.contract.runpod_rig import POD, PODS, Rig
from tests.emulators.base import Reply
from tests.emulators.runpod_state import Problem
from tests.integration.pods.world import World

STEP = 5.0
TICK = 15
SWEEP = 10
RECONCILE = 30
NUDGE = 5
PROBLEM = "application/problem+json"


class Killed(BaseException):
    """The worker is killed here; its claim stays until it ends by itself."""


class Violated(AssertionError):
    """An invariant does not hold."""


class Dying:
    """The provider as a worker sees it that may be killed just before or just after any call."""

    def __init__(self, provider: Any, roll: Callable[[str], bool]) -> None:
        self._provider, self._roll = provider, roll

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._provider, name)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            if self._roll(f"before {name}"):
                raise Killed
            answer = value(*args, **options)
            if self._roll(f"after {name}"):
                raise Killed
            return answer

        return call


class History(World):
    """A fleet under faults. `calm()` ends the faults; then everything must come to rest."""

    def __init__(self, rig: Rig, redis_url: str, seed: int) -> None:
        super().__init__(rig, redis_url)
        self.random, self.seed = random.Random(seed), seed
        self.trace: list[str] = []
        self.faulty, self.faults, self.fury = True, 0, 1.0
        self.fault_number = 0
        self.spared: frozenset[int] = frozenset()  # the numbers of faults that are left out
        self.pace = STEP  # how many seconds a step takes
        self.next_run: dict[str, datetime] = {}
        self.queue: list[tuple[datetime, str, int]] = []
        self.foreign: set[str] = set()
        self.injected: set[str] = set()
        self.unowned_since: dict[str, datetime] = {}
        self.provider = Dying(rig.provider, lambda where: self._chance(0.01, f"killed {where}"))
        Fleet.objects.filter(pk=self.fleet.pk).update(
            max_instances=3, target_depth_per_pod=10, idle_seconds=60, drain_seconds=20,
            boot_seconds=300, image="registry.example/worker:1.4.2", disk_gb=40,
        )  # fmt: skip
        self.fleet = Fleet.objects.get(pk=self.fleet.pk)
        operating.make_group(self.fleet)
        surveying.survey_account(self.account, connect=lambda _: rig.provider)

    def _chance(self, share: float, what: str) -> bool:
        happens = self.faulty and self.random.random() < share * self.fury
        if happens:
            self.fault_number += 1
            happens = self.fault_number not in self.spared
        if happens:
            self.faults += 1
            self.say(f"#{self.fault_number} {what}")
        return happens

    def say(self, what: str) -> None:
        self.trace.append(f"{utcnow():%H:%M:%S} {what}")

    def send(self, task: str, *args: int, countdown: float = 0) -> None:
        """The task queue: drops, delays, duplicates and reorders."""
        if self._chance(0.03, f"lost {task}{args}"):
            return
        late = self.random.choice([0, 0, 0, 1, 7, 40]) if self.faulty else 0
        due = utcnow() + timedelta(seconds=countdown + late)
        self.queue.append((due, task, args[0]))
        if self._chance(0.05, f"twice {task}{args}"):
            self.queue.append((due, task, args[0]))

    def deliver(self) -> None:
        """Run what is due, in any order."""
        due = [entry for entry in self.queue if entry[0] <= utcnow()]
        self.queue = [entry for entry in self.queue if entry[0] > utcnow()]
        self.random.shuffle(due)
        verbs = {
            dispatch.SPAWN: spawning.spawn_pod,
            dispatch.CHECK: health.check_pod,
            dispatch.TEARDOWN: teardown.teardown_pod,
            dispatch.RESUME: resuming.resume_pod,
        }
        for _, task, pod_id in due:
            self.attempt(task, pod_id, lambda v=verbs[task], p=pod_id: v(p, connect=self.connect))

    def attempt(self, what: str, pod_id: int | None, verb: Callable[[], Any]) -> None:
        """Run a verb that may be killed at any of its calls."""
        try:
            verb()
        except Killed:
            if pod_id is not None:
                Pod.objects.filter(pk=pod_id).update(claimed_until=utcnow() + settings.CLAIM_LEASE)
        except (ProviderError, ValueError) as exc:
            self.say(f"{what}: {type(exc).__name__} {exc}"[:120])

    def step(self) -> None:
        """As many seconds as the pace says."""
        self._misbehave()
        self._agents()
        if self._is_time("tick", TICK) and not self._chance(0.05, "no tick"):
            self._tick()
            if self._chance(0.05, "a second tick"):
                self._tick()
        if self._is_time("sweep", SWEEP):
            self.attempt(
                "sweep",
                None,
                lambda: health.sweep_account(self.account, connect=self.connect),
            )
        if self._is_time("reconcile", RECONCILE):
            self.attempt("reconcile", None, self.reconcile)
        if self._is_time("nudge", NUDGE):
            self._nudge()
        self.deliver()
        self.check()
        self.rig.clock.advance(self.pace)

    def _is_time(self, what: str, period: int) -> bool:
        """Whether a periodic task is due; it then is again after its period."""
        now = utcnow()
        if now < self.next_run.get(what, now):
            return False
        self.next_run[what] = now + timedelta(seconds=period)
        return True

    def _nudge(self) -> None:
        from pods import tasks

        tasks.nudge()

    def _tick(self) -> None:
        before = Pod.objects.count()
        fleet = Fleet.objects.get(pk=self.fleet.pk)
        ticking.tick_fleet(fleet.pk)
        new = Pod.objects.count() - before
        if new > fleet.spawn_per_tick:
            raise Violated(f"S3: {new} new pods in a tick")
        counted = Pod.objects.filter(fleet=fleet).billable().count()
        if new and counted > fleet.max_instances:
            raise Violated(f"S1: {counted} pods with max_instances {fleet.max_instances}")
        if new and fleet.max_hourly_usd is not None:
            hourly = sum(p.hourly_usd or 0 for p in Pod.objects.filter(fleet=fleet).billable())
            if hourly > fleet.max_hourly_usd:
                raise Violated(f"S2: ${hourly}/h with max_hourly_usd {fleet.max_hourly_usd}")

    def _agents(self) -> None:
        """What agents would do: beat where their machine is up, take and acknowledge items."""
        stream = self.fleet.stream
        for pod in Pod.objects.billable().exclude(external_id=None):
            machine = self.rig.state.pods.get(str(pod.external_id))
            if machine is None or machine.up_since(utcnow()) is None:
                continue
            keys = wiring.keys(pod)
            if self.redis.exists(keys.fence(pod.name)):
                continue
            if self.redis.get(keys.command(pod.name)):
                self.beat(pod, AgentState.DRAINED)
                continue
            got = self.redis.xreadgroup(self.fleet.group, pod.name, {stream: ">"}, count=2)
            entries = [entry for _, rows in got for entry, _ in rows] if got else []
            if entries:
                self.redis.xack(stream, self.fleet.group, *entries)
            done = pod.done + len(entries)
            idle = 0 if entries else 1000 * int(self.pace) + (self._idle_ms(pod))
            if not self._chance(0.02, f"no heartbeat of {pod.pk}"):
                self.beat(pod, done=done, idle_ms=idle, since_ack_ms=10, rate=0.4)

    def _idle_ms(self, pod: Pod) -> int:
        since = pod.idle_since
        return 0 if since is None else int((utcnow() - since).total_seconds() * 1000)

    def _misbehave(self) -> None:
        """The vendor's answers, its machines, the operators, and the backlog."""
        self._break_answers()
        self._break_machines()
        if self._chance(0.01, "an operator edits"):
            self._edit()
        if self.faulty and self.random.random() < 0.05:
            self.add_items(self.random.randint(1, 40))

    def add_items(self, count: int) -> None:
        """Work arrives."""
        for _ in range(count):
            self.redis.xadd(self.fleet.stream, {"payload": "x"})

    def _break_answers(self) -> None:
        faults, dice = self.rig.server.faults, self.random
        for method, path in (("POST", PODS), ("GET", PODS), ("GET", POD), ("DELETE", POD)):
            if self._chance(0.01, f"lost answer {method}"):
                faults.lose_answer(method, path)
            if self._chance(0.01, f"lost request {method}"):
                faults.lose_request(method, path)
            if self._chance(0.02, f"error {method} {path}"):
                status = dice.choice([500, 503, 429, 401, 404] if path == POD else [500, 429, 401])
                body = {"title": "x", "status": status, "detail": "x"}
                reply = Reply(status=status, json=body, content_type=PROBLEM)
                after = method != "GET" and status >= 500
                (faults.answer_after if after else faults.answer)(method, path, reply)

    def _break_machines(self) -> None:
        dice = self.random
        mine = [p for p in self.rig.state.living() if p.id not in self.foreign]
        if mine and self._chance(0.004, "a pod vanishes"):
            self.rig.state.vanish(dice.choice(mine).id)
        if mine and self._chance(0.004, "a pod fails"):
            self.rig.state.fail(dice.choice(mine).id)
        if mine and self._chance(0.02, "an orphan appears"):
            request = {**dice.choice(mine).request}
            token = f"{dice.getrandbits(128):032x}"
            made = self._rented({**request, "name": f"{self.tag}-{token}"})
            self.injected.update(made)
        if mine and not self.foreign:
            self.foreign.update(self._rented({**mine[0].request, "name": "somebody-elses"}))

    def _rented(self, request: Any) -> list[str]:
        """The id of what somebody else creates; none where the stock is out."""
        try:
            return [self.rig.state.create(request).id]
        except Problem:
            return []

    def _edit(self) -> None:
        fleet = Fleet.objects.get(pk=self.fleet.pk)
        changes: dict[str, Any] = self.random.choice(
            [
                {"max_instances": self.random.randint(0, 4)},
                {"mode": self.random.choice(list(Mode)).value},
                {"mode": Mode.RUNNING.value, "max_instances": 3},
                {"max_hourly_usd": self.random.choice(["0.5", "1.0", None])},
                {"spawn_per_tick": self.random.randint(1, 3)},
            ]
        )
        operating.edit(fleet, changes, by="operator")

    def check(self) -> None:
        """The invariants that hold after every step."""
        if not self.foreign <= {p.id for p in self.rig.state.living()}:
            raise Violated("S7: a pod that is not ours was ended")
        rows = {p.external_id: p for p in Pod.objects.exclude(external_id=None)}
        opening = set(
            Pod.objects.filter(state__in=[REQUESTED.value, CREATING.value]).values_list(
                "client_token", flat=True
            )
        )
        tokens = {token.hex for token in opening}
        unknown: dict[str, datetime] = {}
        for pod in self.rig.state.living():
            row = rows.get(pod.id)
            owned = row is not None and row.status not in ENDED
            token = str(pod.request["name"]).rpartition("-")[2]
            if owned or token in tokens or pod.id in self.foreign:
                continue
            unknown[pod.id] = self.unowned_since.get(pod.id, utcnow())
        self.unowned_since = unknown
        # the consistency window, and reconciliations enough that one got its answer
        patience = timedelta(minutes=2) + timedelta(seconds=12 * RECONCILE)
        for machine, since in unknown.items():
            if self.rig.state.pods[machine].status(utcnow()).value == "TERMINATED":
                continue
            if utcnow() - since > patience:
                raise Violated(f"{machine} bills and nobody has known it since {since:%H:%M:%S}")

    def calm(self, seconds: float) -> None:
        """The faults end, the backlog is emptied: everything must come to rest."""
        self.faulty = False
        self.rig.server.faults.clear()
        self.say("calm")
        fleet = Fleet.objects.get(pk=self.fleet.pk)
        calm = {"mode": Mode.RUNNING.value, "max_instances": 3, "max_hourly_usd": None}
        operating.edit(fleet, calm, by="operator")
        self.redis.xtrim(self.fleet.stream, maxlen=0, approximate=False)
        end = utcnow() + timedelta(seconds=seconds)
        while utcnow() < end:
            self.step()
            if not Pod.objects.billable().exists() and not self.unowned_since:
                break
        left = list(Pod.objects.billable().values_list("pk", "state", "note", "due_at"))
        if left:
            raise Violated(f"L2: not at rest after {seconds} s: {left}")
        ours = [p.id for p in self.rig.state.living() if p.id not in self.foreign]
        if ours:
            raise Violated(f"L3: {ours} bill and have no row")
        if Orphan.objects.filter(gone_at=None).exists():
            self.attempt("reconcile", None, self.reconcile)


def run(rig: Rig, redis_url: str, seed: int, *, steps: int) -> History:
    """A history of `steps` faulty steps, and the rest after them.

    Raises:
        Violated: with the seed and the trace.
    """
    history = History(rig, redis_url, seed)
    sent = mock.patch.object(dispatch, "send", history.send)
    direct = mock.patch(
        "pods.tasks.dispatch.next_step",
        lambda pod_id, state, *, countdown=0: (
            history.send(dispatch.STEP_OF[state], pod_id, countdown=countdown)
            if state in dispatch.STEP_OF
            else None
        ),
    )
    try:
        with sent, direct:
            for _ in range(steps):
                history.step()
            history.calm(3600)
            history.check_history()
    except Violated as exc:
        story = "\n".join(history.trace[-60:])
        raise Violated(f"seed {seed}: {exc}\n{story}") from exc
    return history
