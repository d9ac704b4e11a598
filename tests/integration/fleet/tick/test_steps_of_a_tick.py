"""What one tick writes, one step at a time: the lease, the decision's row, new pods, retirements."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from fleet.backlog.base import Depth
from fleet.decision.values import (
    Caps,
    Decision,
    Elsewhere,
    Failing,
    NewPod,
    Policy,
    ResumePod,
    Retire,
    Rule,
    Step,
)
from fleet.models import Fleet, Lease, Limits, Override, Sample, Tick
from fleet.tick import gathering, ticking
from fleet.tick.policies import policy_of
from pods.base import counters
from pods.emulators.base import SteppedClock
from pods.lifecycle import Overtaken
from pods.models import Pod
from pods.rules import PodRule
from pods.states import READY, STOPPED
from tests.support.factories import (
    NOON,
    a_fleet,
    a_pod,
    hours,
    offer_facts,
    pod_facts,
    seconds,
    snapshot,
)

pytestmark = pytest.mark.django_db
TOKEN = 4


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


@pytest.fixture
def fleet() -> Fleet:
    """A fleet of which this tick holds the lease; another fleet has one with the same token."""
    made = a_fleet()
    for each in (made, a_fleet(name="other", stream="s", group="g")):
        Lease.objects.create(fleet=each, token=TOKEN, until=NOON + seconds(9), holder="x")
    return made


@pytest.fixture
def other(fleet: Fleet) -> Fleet:
    return Fleet.objects.get(name="other")


def gathered(fleet: Fleet, pods: tuple[Pod, ...] = (), **values: Any) -> gathering.Gathered:
    facts = tuple(pod_facts(pod.pk, pod.status) for pod in pods)
    options: dict[str, Any] = {
        "policy": policy_of(fleet, Limits.get(), NOON),
        "limits_version": Limits.get().version,
        "depth": None,
        "last_tick_at": None,
        "seen": snapshot(1, pods=facts),
    }
    return gathering.Gathered(pods={pod.pk: pod for pod in pods}, **{**options, **values})


def decision(**values: Any) -> Decision:
    steps = [Step(rule=Rule.DEMAND, before=0, after=1, because="1 item")]
    return Decision(
        **{"depth": 1, "active": 0, "desired": 1, "target": 1, "steps": steps, **values}
    )


def a_start(fleet: Fleet) -> NewPod:
    account = fleet.accounts.get()
    return NewPod(offer=offer_facts(account_id=account.pk))


def write(fleet: Fleet, decided: Decision, seen: gathering.Gathered | None = None) -> Tick:
    ticking._write(fleet, TOKEN, seen or gathered(fleet), decided, 0.0)
    return Tick.objects.get()


# The lease


@pytest.mark.parametrize(
    ("until", "taken"),
    [(None, True), (NOON - seconds(1), True), (NOON, False), (NOON + seconds(1), False)],
)
def test_only_a_lease_that_has_ended_is_taken(fleet: Fleet, until: Any, taken: bool) -> None:
    Lease.objects.filter(fleet=fleet).update(until=until)
    assert ticking.take_lease(fleet, now=NOON) == (TOKEN + 1 if taken else None)
    others = Lease.objects.exclude(fleet=fleet).get()
    assert (others.token, others.until) == (TOKEN, NOON + seconds(9))
    assert ticking.take_lease(fleet, now=NOON + hours(1)) == (TOKEN + 2 if taken else TOKEN + 1)


def test_a_tick_takes_the_lease_of_its_own_fleet_alone(fleet: Fleet) -> None:
    Lease.objects.update(until=None)
    assert ticking.take_lease(fleet) == TOKEN + 1
    assert Lease.objects.exclude(fleet=fleet).get().token == TOKEN


def test_a_lease_that_was_taken_and_given_back_meanwhile_is_not_taken(fleet: Fleet) -> None:
    Lease.objects.update(until=None)
    left = [TOKEN + 1]

    def meanwhile(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and left:
            Lease.objects.filter(fleet=fleet).update(token=left.pop())
        return execute(sql, *rest)

    with connection.execute_wrapper(meanwhile):
        assert ticking.take_lease(fleet) is None
    assert Lease.objects.get(fleet=fleet).until is None


def test_an_archived_fleet_is_not_ticked(fleet: Fleet, redis_url: str) -> None:
    Lease.objects.filter(fleet=fleet).update(until=None)
    Fleet.objects.filter(pk=fleet.pk).update(archived_at=NOON)
    assert ticking.tick_fleet(fleet.pk) is None
    assert (Lease.objects.get(fleet=fleet).token, Tick.objects.count()) == (TOKEN, 0)


def test_a_tick_gives_back_its_own_lease_alone(fleet: Fleet, redis_url: str) -> None:
    Lease.objects.filter(fleet=fleet).update(until=None, token=TOKEN - 1)
    assert ticking.tick_fleet(fleet.pk) is not None
    assert Lease.objects.get(fleet=fleet).until is None
    assert Lease.objects.exclude(fleet=fleet).get().until == NOON + seconds(9)


def test_a_tick_that_was_overtaken_leaves_the_lease_of_the_other_tick(
    fleet: Fleet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, later = ticking.decide, NOON + hours(2)

    def slow(*values: Any) -> Decision:
        Lease.objects.filter(fleet=fleet).update(token=TOKEN + 5, until=later)
        return decide(*values)

    Lease.objects.filter(fleet=fleet).update(until=None)
    monkeypatch.setattr(ticking, "decide", slow)
    assert ticking.tick_fleet(fleet.pk) is None
    assert Lease.objects.get(fleet=fleet).until == later


@pytest.mark.parametrize("rule", [Rule.PAUSED, None])
def test_decisions_are_counted_by_the_rule_that_holds_back_pods(
    fleet: Fleet, redis_url: str, monkeypatch: pytest.MonkeyPatch, rule: Rule | None
) -> None:
    Lease.objects.update(until=None)
    monkeypatch.setattr(ticking, "decide", lambda *_: decision(binding=rule))
    before = counters.read().get(("decisions", str(fleet.pk), rule or ""), 0)
    ticking.tick_fleet(fleet.pk)
    assert counters.read()["decisions", str(fleet.pk), rule or ""] == before + 1
    assert Tick.objects.get().binding == (rule or "")


# The row of a decision


@pytest.mark.parametrize("token", [TOKEN - 1, TOKEN + 1])
def test_a_decision_without_the_lease_is_not_written(fleet: Fleet, token: int) -> None:
    Lease.objects.filter(fleet=fleet).update(token=token)
    with pytest.raises(Overtaken, match="the lease"):
        write(fleet, decision())
    assert not Tick.objects.exists()


def test_a_decision_takes_the_holder_off_its_own_lease_alone(fleet: Fleet, other: Fleet) -> None:
    Lease.objects.create(fleet=a_fleet(), token=TOKEN + 1, holder="y")
    write(fleet, decision())
    holders = Lease.objects.order_by("pk").values_list("holder", flat=True)
    assert list(holders) == ["", "x", "y"]


def starts(fleet: Fleet) -> list[tuple[Decision, gathering.Gathered]]:
    """A decision that makes a pod, and one that resumes a stopped pod."""
    pod = a_pod(fleet, STOPPED)
    seen = gathered(fleet, (pod,))
    again = ResumePod(pod_id=pod.pk, hourly_usd=Decimal(1), because="items wait")
    return [
        (decision(spawn=[a_start(fleet)]), seen),
        (decision(resume=[again]), seen),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_starts_after_a_pod_appeared_or_a_fleet_was_edited(
    fleet: Fleet, other: Fleet, which: int
) -> None:
    decided, seen = starts(fleet)[which]
    a_pod(other, READY)  # a pod of another fleet is not counted here
    appeared = a_pod(fleet, READY)
    with pytest.raises(Overtaken, match="appeared"):
        write(fleet, decided, seen)
    appeared.delete()
    Fleet.objects.filter(pk=fleet.pk).update(version=fleet.version + 1)
    with pytest.raises(Overtaken, match="edited"):
        write(fleet, decided, seen)
    Fleet.objects.filter(pk=fleet.pk).update(version=fleet.version)
    write(fleet, decided, seen)
    state = Pod.objects.get(pk=min(seen.pods)).state
    assert state == ("stopped" if which == 0 else "resuming")
    assert Pod.objects.filter(fleet=fleet).count() == 2 - which


def test_a_decision_that_starts_nothing_is_written_whatever_was_edited(fleet: Fleet) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(version=fleet.version + 1)
    a_pod(fleet, READY)
    assert write(fleet, decision()).spawned == 0


def test_a_limit_that_changed_without_an_edit_of_the_fleet_counts(fleet: Fleet) -> None:
    seen = gathered(fleet)
    Override.objects.create(fleet=fleet, pods=0, until=NOON + hours(1), by="ann", because="x")
    with pytest.raises(Overtaken, match="edited"):
        write(fleet, decision(spawn=[a_start(fleet)]), seen)


def test_an_edit_of_another_fleet_holds_nothing_up(fleet: Fleet, other: Fleet) -> None:
    """Nor does another fleet with the version that was read stand in for this one."""
    Fleet.objects.filter(pk=other.pk).update(version=fleet.version + 7)
    ticking._still_asked_for(fleet, gathered(fleet))
    assert Fleet.objects.get(pk=other.pk).version == fleet.version + 7
    Fleet.objects.filter(pk=fleet.pk).update(version=fleet.version + 1)
    Fleet.objects.filter(pk=other.pk).update(version=fleet.version)
    with pytest.raises(Overtaken, match="edited"):
        ticking._still_asked_for(fleet, gathered(fleet))


CAPS = Policy(target_depth_per_pod=1, max_instances=1, installation=Caps(max_instances=9))


@pytest.mark.parametrize(
    ("version", "counted", "there", "fits"),
    [
        (0, Elsewhere(), Elsewhere(), True),
        (1, Elsewhere(), Elsewhere(), False),  # another tick started pods, which have ended
        (0, Elsewhere(pods=1, hourly_usd=Decimal(1)), Elsewhere(), True),
        (0, Elsewhere(), Elsewhere(pods=1), False),
        (0, Elsewhere(pods=1), Elsewhere(pods=1, hourly_usd=Decimal("0.1")), False),
    ],
)
def test_what_other_fleets_started_meanwhile(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch,
    version: int, counted: Elsewhere, there: Elsewhere, fits: bool,
) -> None:  # fmt: skip
    Limits.made()
    before = Limits.get().version
    Limits.objects.update(version=before + version)
    monkeypatch.setattr(gathering, "elsewhere", lambda *_: there)
    seen = gathered(fleet, policy=CAPS, limits_version=before, seen=snapshot(1, elsewhere=counted))
    if fits:
        ticking._still_fits(fleet, seen)
        assert Limits.get().version == before + 1
    else:
        with pytest.raises(Overtaken, match="another fleet"):
            ticking._still_fits(fleet, seen)


def test_without_a_limit_of_the_installation_no_tick_touches_its_row(fleet: Fleet) -> None:
    ticking._still_fits(fleet, gathered(fleet))
    Limits.made()
    before = Limits.get().version
    ticking._still_fits(fleet, gathered(fleet))
    assert Limits.get().version == before


@pytest.mark.parametrize(
    ("depth", "binding", "held_back"),
    [(None, None, "no stream"), (1, None, ""), (1, Rule.PAUSED, "it is paused")],
)
def test_a_tick_says_what_holds_back_pods(
    fleet: Fleet, depth: int | None, binding: Rule | None, held_back: str
) -> None:
    first = Step(rule=Rule.UNKNOWN, before=0, after=0, because="no stream")
    second = Step(rule=Rule.PAUSED, before=1, after=0, because="it is paused")
    row = write(fleet, decision(depth=depth, binding=binding, steps=[first, second]))
    assert (row.held_back, row.binding, row.failing) == (held_back, binding or "", 0)


def test_a_tick_says_how_many_pods_failed_and_how_much_the_others_work(fleet: Fleet) -> None:
    works = pod_facts(busy=0.5, gpu_percent=40.0, ready_for=hours(1))
    failing = Failing(count=3, because="no module x", at=NOON, until=NOON)
    depth = Depth(waiting=1, pending=0, oldest_age=timedelta(seconds=70))
    seen = gathered(fleet, seen=snapshot(1, pods=(works,), failing=failing), depth=depth)
    row = write(fleet, decision(), seen)
    assert (row.failing, row.busy_percent, row.gpu_percent) == (3, 50.0, 40.0)
    assert row.oldest_seconds == 70
    sample = Sample.objects.get()
    assert (sample.busy_percent, sample.gpu_percent) == (50.0, 40.0)


@pytest.mark.parametrize("depth", [None, Depth(waiting=1, pending=0)])
def test_what_nobody_knows_stays_empty(fleet: Fleet, depth: Depth | None) -> None:
    row = write(fleet, decision(), gathered(fleet, depth=depth))
    assert (row.oldest_seconds, row.busy_percent, row.bottleneck) == (None, None, "")
    sample = Sample.objects.get()
    assert (sample.busy_percent, sample.gpu_percent) == (None, None)


# Pods that the decision ends


@pytest.mark.parametrize(
    ("stop", "provider", "keeps"),
    [(True, "local", True), (False, "local", False), (True, "nobody", False)],
)
def test_a_pod_keeps_its_disk_only_if_that_was_decided_and_its_account_can_be_used(
    fleet: Fleet, stop: bool, provider: str, keeps: bool
) -> None:
    pod = a_pod(fleet, READY)
    pod.account.provider = provider
    leaving = Retire(pod_id=pod.pk, rule=PodRule.IDLE, because="idle", stop=stop)
    ticking._retire(gathered(fleet, (pod,)), decision(retire=[leaving]))
    pod.refresh_from_db()
    assert (pod.state, pod.stop_when_idle, pod.retire_rule) == ("draining", keeps, "idle")


def test_a_pod_that_moved_meanwhile_waits_and_the_others_are_retired(fleet: Fleet) -> None:
    moved, stays = a_pod(fleet, READY), a_pod(fleet, READY)
    seen = gathered(fleet, (moved, stays))
    Pod.objects.filter(pk=moved.pk).update(version=moved.version + 1)
    leaving = [Retire(pod_id=pk, rule=PodRule.IDLE, because="idle") for pk in seen.pods]
    ticking._retire(seen, decision(retire=leaving))
    assert [p.state for p in Pod.objects.order_by("pk")] == ["ready", "draining"]


# Previews, and a fleet that is to be archived


def test_a_preview_says_how_the_depth_was_found(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for depth, note in (
        (None, ""),
        (Depth(waiting=1, pending=0, note="by its plan"), "by its plan"),
    ):
        seen = gathered(fleet, depth=depth)
        monkeypatch.setattr(gathering, "gather", lambda *_, seen=seen, **__: seen)
        assert ticking.foresee(fleet).note == note


@pytest.mark.parametrize(
    ("wanted", "pods", "archived"), [(False, 0, False), (True, 0, True), (True, 1, False)]
)
def test_a_tick_archives_a_fleet_without_pods_if_an_operator_wants_that(
    fleet: Fleet, redis_url: str, wanted: bool, pods: int, archived: bool
) -> None:
    fleet.archive_when_empty = wanted
    fleet.save()
    for _ in range(pods):
        a_pod(fleet, READY)
    ticking._archive(fleet)
    assert (Fleet.objects.get(pk=fleet.pk).archived_at is not None) is archived
