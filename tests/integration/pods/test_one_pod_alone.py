"""Whatever happens to one pod, no row of another pod changes."""

from collections.abc import Callable
from typing import Any

import pytest

from pods import health, reconciling, resuming, spawning, teardown
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Orphan, Pod, PodEvent, PriceSegment
from pods.rules import PodRule
from pods.states import RESUMING, PodState
from tests.support.factories import a_pod, an_account
from tests.support.rigs.runpod_rig import ACTION, POD, PODS
from tests.support.world import SPAWNS, TEARDOWNS, World, reply, state

pytestmark = pytest.mark.django_db
OPERATOR: dict[str, Any] = {"by": "test", "rule": PodRule.OPERATOR, "because": "x"}


class Life:
    """Takes the steps of one pod when they are due."""

    def __init__(self, world: World, pod: Pod) -> None:
        self.world, self.pod = world, pod

    def until(self, *states: str) -> None:
        for _ in range(100):
            self.pod.refresh_from_db()
            if self.pod.state in states:
                return
            self.step()
            self.world.rig.clock.advance(20)
        pytest.fail(f"it is {self.pod.state}: {self.pod.note}")

    def step(self) -> None:
        verb: Callable[..., None] | None = None
        if self.pod.status in SPAWNS:
            verb = spawning.spawn_pod
        elif self.pod.status in TEARDOWNS:
            verb = teardown.teardown_pod
        elif self.pod.status is RESUMING:
            verb = resuming.resume_pod
        if verb is not None and self.pod.due_at is not None and self.pod.due_at <= clock.utcnow():
            verb(self.pod.pk, connect=self.world.connect)

    def works(self) -> None:
        self.world.beat(self.pod, done=1)
        health.sweep_account(self.world.account, connect=self.world.connect)
        health.check_pod(self.pod.pk, connect=self.world.connect)
        self.pod.refresh_from_db()
        assert self.pod.state == "ready"


def everything(account: Account) -> list[Any]:
    """All that is stored of an account and its pods."""
    of_pods = {"pod__account": account}
    return [
        list(Account.objects.filter(pk=account.pk).values()),
        list(Pod.objects.filter(account=account).order_by("pk").values()),
        list(PriceSegment.objects.filter(**of_pods).order_by("pk").values()),
        list(PodEvent.objects.filter(**of_pods).order_by("pk").values()),
        list(Orphan.objects.filter(account=account).values()),
    ]


def test_the_whole_life_of_a_pod_with_all_its_troubles_changes_no_row_of_another(
    world: World,
) -> None:
    other = an_account("runpod", name="other", failures=1, last_error="x")
    now = clock.utcnow()
    Orphan.objects.create(account=other, external_id="m1", first_seen_at=now, last_seen_at=now)
    for each in PodState:
        a_pod(world.fleet, each, account=other, absent_since=now, destroy_asked_at=now)
    before, faults = everything(other), world.rig.server.faults

    life = Life(world, world.requested())
    faults.lose_answer("POST", PODS)
    life.until("booting")
    world.rig.clock.advance(120)
    life.works()
    teardown.stop_pod(life.pod, connect=world.connect, **OPERATOR)
    world.beat(life.pod, AgentState.DRAINED)
    faults.answer("POST", ACTION, reply(503), times=4)
    life.until("stopped")
    faults.clear()
    resuming.begin_resume(life.pod, by="test", because="x")
    life.until("booting")
    world.rig.clock.advance(120)
    life.works()
    faults.answer("DELETE", POD, Reply(status=204), times=2)
    teardown.retire_pod(life.pod, drain=False, **OPERATOR)
    life.until("terminated")
    back = world.rig.state.pods[str(life.pod.external_id)]
    back.halted, back.listed_until = None, None
    assert reconciling.reconcile_account(
        world.account, template_of=lambda _: None, connect=world.connect
    ).resurrected == [life.pod.external_id]
    life.until("terminated")

    assert everything(other) == before
    assert state(life.pod) == "terminated"
