"""One fleet at one emulated vendor on a stepped clock: beat and the workers, in one thread."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from unittest import mock

import redis

from fleet import operating
from fleet.alerts import reconciling as alerting
from fleet.models import Alert, Fleet, Tick
from fleet.tick import ticking
from pods import health, resuming, spawning, teardown
from pods.accounts import connecting, surveying
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod
from pods.providers.base import Provider
from pods.states import CREATING, REQUESTED, RESUMING
from tests.support.factories import a_fleet, an_account

STEP_SECONDS = 15.0
SURVEYED_EVERY = timedelta(minutes=5)
ALERTED_EVERY = timedelta(minutes=1)


class VendorRig(Protocol):
    """An emulated vendor on a stepped clock."""

    @property
    def clock(self) -> SteppedClock: ...
    @property
    def provider(self) -> Provider: ...


class Stage:
    """The fleet, its vendor, and what its pods' agents do at each step."""

    def __init__(self, rig: VendorRig, redis_url: str, vendor: str, **fleet: Any) -> None:
        self.clock, self.provider = rig.clock, rig.provider
        self.redis = redis.Redis.from_url(redis_url, protocol=2)
        self.account: Account = an_account(vendor)
        values = {"image": "registry.example/agent:1", "target_depth_per_pod": 10, **fleet}
        self.fleet: Fleet = a_fleet(accounts=[self.account], name="emb", **values)
        operating.make_group(self.fleet)
        self.behave: Callable[[Pod], Any] = lambda pod: None
        self.surveys = True
        self.began = clock.utcnow()
        self._surveyed = self._alerted = self.began - timedelta(days=1)

    def connect(self, _account: Account) -> Provider:
        return self.provider

    def enqueue(self, count: int) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for number in range(count):
            pipe.xadd(self.fleet.stream, {"payload": str(number)})
        pipe.execute()

    def beat(self, pod: Pod, state: AgentState = AgentState.WORKING, **values: Any) -> None:
        """Write a heartbeat, as the pod's agent does."""
        seconds, micros = self.redis.time()
        said = Heartbeat(state=state, **values).fields()
        fields: dict[Any, Any] = {**said, "at_ms": str(seconds * 1000 + micros // 1000)}
        self.redis.hset(connecting.keys(pod).pod(pod.name), mapping=fields)

    def survey(self) -> None:
        surveying.survey_account(self.account, connect=self.connect)
        self._surveyed = clock.utcnow()

    def step(self, seconds: float = STEP_SECONDS) -> None:
        """What beat and the workers do in a tick's time; the next tick comes after these seconds."""
        now = clock.utcnow()
        if self.surveys and now - self._surveyed >= SURVEYED_EVERY:
            self.survey()
        for pod in Pod.objects.filter(state__in=["booting", "ready"]):
            self.behave(pod)
        self.account.refresh_from_db()
        ill: set[int] = set()
        with mock.patch("pods.health.dispatch.send", lambda _name, pk, **_: ill.add(pk)):
            health.sweep_account(self.account, connect=self.connect)
        for pod_id in sorted(ill):
            health.check_pod(pod_id, connect=self.connect)
        self._work()
        ticking.tick_fleet(self.fleet.pk)
        self._work()
        if now - self._alerted >= ALERTED_EVERY:
            alerting.reconcile_alerts()
            self._alerted = now
        self.clock.advance(seconds)

    def _work(self) -> None:
        for pod in Pod.objects.in_transit().filter(due_at__lte=clock.utcnow()).order_by("pk"):
            if pod.status in {REQUESTED, CREATING}:
                spawning.spawn_pod(pod.pk, connect=self.connect)
            elif pod.status is RESUMING:
                resuming.resume_pod(pod.pk, connect=self.connect)
            else:
                teardown.teardown_pod(pod.pk, connect=self.connect)

    def run(self, *, minutes: float, every: float = STEP_SECONDS) -> None:
        """Go on for these minutes, with a tick `every` so many seconds: each costs 50 ms of a core."""
        end = clock.utcnow() + timedelta(minutes=minutes)
        while clock.utcnow() < end:
            self.step(every)

    def requested(self) -> list[datetime]:
        """When each pod was requested, in order."""
        return list(Pod.objects.order_by("pk").values_list("requested_at", flat=True))

    def most_within(self, window: timedelta) -> int:
        """The most pods that were requested within any such window."""
        times = self.requested()
        return max((sum(t <= u < t + window for u in times) for t in times), default=0)

    @property
    def last(self) -> Tick:
        return Tick.objects.order_by("-pk")[0]

    def open_alerts(self) -> dict[str, str]:
        """The text of each open alert, by its cause."""
        return dict(Alert.objects.open().values_list("cause", "text"))
