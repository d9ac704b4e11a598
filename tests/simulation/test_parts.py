"""The parts of a simulated day: hosts with their clocks, servers, odd texts and the limits' judge."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
import redis
from django.db import transaction

from fleet.models import Alert, Fleet, Limits, Tick
from fleet.tick.recording import recorded
from pods import lifecycle
from pods.base import clock
from pods.base.shared_clock import shared_now
from pods.bottleneck import Bottleneck
from pods.emulators.base import SteppedClock
from pods.machine_names import MachineName
from pods.models import Account, Pod, PodEvent
from pods.rules import PodRule
from pods.states import PodState
from tests.simulation.databases import CleanDatabase
from tests.simulation.day import Day
from tests.simulation.draws import Draws
from tests.simulation.hosts import Hosts
from tests.simulation.limits import Guardrails, Violated, rows
from tests.simulation.plan import FaultPlan
from tests.simulation.redis_faults import DOWN, Servers
from tests.simulation.repeats import Repeats
from tests.simulation.texts import odd_name, secrets_in_rows, with_odd_texts
from tests.simulation.tries import Left, Tries
from tests.support.factories import a_fleet, a_pod, an_account, pod_facts, seconds, snapshot

EARLY, LATE = timedelta(seconds=-600), timedelta(seconds=600)


def test_a_task_has_the_clock_of_its_host_and_all_hosts_that_of_the_database() -> None:
    time = SteppedClock()
    hosts = Hosts(time, Draws(1), (600, -600))
    seen = set()
    with clock.use(hosts, shared=time):
        for _ in range(50):
            with hosts.one():
                seen.add(clock.utcnow() - time())
                assert shared_now() == time()
                with hosts.none():  # another process, while this one stands still
                    assert clock.utcnow() == time()
                assert clock.utcnow() != time()
        assert clock.utcnow() == time()
    assert seen == {EARLY, LATE}
    hosts.differ = False
    with hosts.one():
        assert hosts() == time()


@pytest.mark.django_db
def test_a_dead_server_is_dead_for_its_own_clients_only(redis_url: str) -> None:
    time = SteppedClock()
    day = Day(Draws(1), time, redis_url, FaultPlan(fleets=2, servers=2))
    servers, worker = day.servers, day.worker
    one, other = servers[0].client, servers[1].client
    servers[1].failure, servers[1].ahead = DOWN, timedelta(seconds=600)
    answers: list[bool] = []

    def task() -> None:
        answers.append(bool(one.ping()))
        with pytest.raises(redis.ConnectionError):
            other.ping()
        pipe = other.pipeline()
        pipe.set("a", 1)
        with pytest.raises(redis.ConnectionError):
            pipe.execute()
        servers[1].failure = ""
        answers.append(bool(other.ping()))
        ahead: list[int] = [client.time()[0] for client in (one, other)]
        assert ahead[1] - ahead[0] == 600

    with clock.use(time), Servers(worker, servers).patched():
        worker.run("a task", task)
    assert answers == [True, True]


def test_odd_texts_change_what_a_row_says_and_not_which_machine_it_is() -> None:
    row = {"id": "a1", "name": "pf-sim-1-x", "status": "RUNNING", "cost": 0.5, "gpu": {"id": "A"}}
    seen = [with_odd_texts({"pods": [row]}, Random(seed))["pods"][0] for seed in range(200)]
    assert {s["id"] for s in seen} == {"a1"}
    assert {s["name"] for s in seen} == {"pf-sim-1-x"}
    assert "\0" in {s["status"] for s in seen}
    assert "\ud800" in {s["status"] for s in seen}
    assert {s["cost"] for s in seen} == {0.5, None}
    assert all(json.loads(json.dumps(s)) == s for s in seen)


def test_odd_names_begin_with_our_tag_and_are_not_the_names_of_pods() -> None:
    names = [odd_name("pf-sim", 1, Random(seed)) for seed in range(200)]
    assert all(name.startswith("pf-sim-") for name in names)
    parsed = [MachineName.parse(name) for name in names]
    assert any(name is None for name in parsed)
    assert {name.fleet_id for name in parsed if name} == {1, 999}
    assert all(name.token is None for name in parsed if name and name.fleet_id == 1)
    assert any(len(name) > 80 for name in names)


@pytest.mark.django_db
def test_a_key_in_a_text_is_found_whoever_wrote_it() -> None:
    account = an_account(last_error="refused: key abc-123")
    pod = a_pod()
    lifecycle.note(pod, by="test", because="the vendor said abc-123")
    event = PodEvent.objects.latest("pk")
    assert list(secrets_in_rows(["abc-123"])) == [
        f"Account {account.pk}: last_error",
        f"PodEvent {event.pk}: because",
    ]
    assert list(secrets_in_rows(["another"])) == []


@pytest.mark.one_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_instances": 1}, "S1: 2 pods .0 orphans. with max_instances .1(, 1)*.: installation"),
        ({"max_hourly_usd": Decimal("0.9")}, r"S2: \$1\.0"),
        ({"daily_budget_usd": Decimal("0.4")}, r"S2: \$0\.0000 spent"),
    ],
)
def test_the_judge_of_the_limits_sees_pods_of_all_fleets(
    limits: dict[str, object], says: str
) -> None:
    one, two = a_fleet(name="one"), a_fleet(name="two", stream="two")
    Limits.made()
    judge = Guardrails([one, two], slack=timedelta(0))
    for fleet in (one, two):
        pod = a_pod(fleet, PodState.REQUESTED, hourly_usd=Decimal("0.5"))
        PodEvent.objects.filter(pod=pod).update(by="tick", rule=PodRule.WANTED.value)
        facts = {"depth": 1, "spawned": 1, "retired": 0, "milliseconds": 1, "token": 1}
        Tick.objects.create(fleet=fleet, at=clock.utcnow(), **facts, **NOTHING)
    events = list(PodEvent.objects.order_by("pk"))
    judge.check(rows(), events)
    Limits.objects.update(**limits)
    judge = Guardrails([one, two], slack=timedelta(0))
    with pytest.raises(Violated, match=says):
        judge.check(rows(), events)


NOTHING = {
    "active": 0, "ready": 0, "desired": 0, "target": 0, "pending": 0, "sentence": "",
    "steps": [], "snapshot": recorded(snapshot(0)), "hourly_usd": 0, "spent_today_usd": 0,
}  # fmt: skip
WAITS = {"busy": 0.2, "bottleneck": Bottleneck.LINK, "ready_for": seconds(60)}


@pytest.mark.one_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("said", "waited", "limits", "wrong"),
    [
        (WAITS, 60, {}, True),
        ({**WAITS, "busy": 0.5}, 60, {}, False),
        ({**WAITS, "bottleneck": Bottleneck.HANDLER}, 60, {}, False),
        ({**WAITS, "ready_for": seconds(29)}, 60, {}, False),
        (WAITS, 29, {}, False),
        (WAITS, 60, {"min_busy_percent": 0}, False),
        (WAITS, 60, {"min_instances": 2}, False),
    ],
)
def test_the_judge_of_the_limits_sees_a_pod_that_started_beside_one_that_waits(
    said: dict[str, Any], waited: int, limits: dict[str, int], wrong: bool
) -> None:
    fleet = a_fleet(max_instances=3, **limits)
    judge = Guardrails([fleet], slack=timedelta(0))
    pod = a_pod(fleet, PodState.REQUESTED)
    PodEvent.objects.filter(pod=pod).update(by="tick", rule=PodRule.WANTED.value)
    seen = snapshot(9, pods=[pod_facts(7, **said)], waiting_for=seconds(waited))
    told = {**NOTHING, "snapshot": recorded(seen), "active": 1, "depth": 9, "spawned": 1}
    Tick.objects.create(fleet=fleet, at=clock.utcnow(), token=1, **told)
    with pytest.raises(Violated, match="S3: 1 new pods") if wrong else nullcontext():
        judge.check(rows(), list(PodEvent.objects.order_by("pk")))


@pytest.fixture
def day(redis_url: str) -> Iterator[Day]:
    """A day of two fleets on two servers, before its first step."""
    database, time = CleanDatabase(), SteppedClock()
    database.restore()
    with clock.use(time):
        made = Day(Draws(1), time, redis_url, FaultPlan(fleets=2, servers=2, adopts=True))
    made.draws.faults_on = False
    with made.patched():
        made.prepare()
        yield made
    database.restore()


@pytest.mark.one_database
@pytest.mark.django_db(transaction=True)
def test_the_judge_sees_a_pod_that_works_after_an_operator_ended_it(day: Day) -> None:
    pod = a_pod(day.agents[0].fleet, PodState.READY, account=Account.objects.get(name="runpod"))
    day.invariants.check()
    day.invariants.ended_by_operators.add(pod.pk)
    with pytest.raises(Violated, match=f"S18: an operator ended pod {pod.pk}, and it is ready"):
        day.invariants.check()


@pytest.mark.one_database
@pytest.mark.django_db(transaction=True)
def test_the_judge_sees_that_a_dead_server_hides_the_fleet_of_another(day: Day) -> None:
    for _ in range(3):
        day.step()
    day.servers[1].dead, day.servers[1].failure = True, DOWN
    day.step()
    day.invariants.check_settled(beats=True)  # the second fleet's backlog is unknown, as it must be
    day.servers[0].failure = DOWN
    day.time.advance(20)
    day.step()
    with pytest.raises(Violated, match="S14: the backlog of emb is unknown"):
        day.invariants.check_settled(beats=True)


@pytest.mark.one_database
@pytest.mark.django_db(transaction=True)
def test_the_judge_sees_that_a_machine_which_must_be_kept_is_gone(day: Day) -> None:
    vendor = day.vendors[0]
    kept = vendor.rent("pf-sim-999-x", day.draws.random)
    assert kept is not None
    vendor.unowned.add(kept)
    day.invariants.check()
    vendor.end(kept)
    with pytest.raises(Violated, match=f"S7: .*{kept}"):
        day.invariants.check()


@pytest.mark.django_db(transaction=True)
@pytest.mark.takes(8)
def test_no_pod_starts_in_a_day_while_all_pods_wait_for_their_links(day: Day) -> None:
    agents = day.agents[0]
    day.pace = 20.0

    def tick_after(steps: int) -> Tick:
        for _ in range(steps):
            agents.add_items(max(0, 400 - agents.left))
            day.step()
        return Tick.objects.filter(fleet=agents.fleet).latest("pk")

    while not Pod.objects.filter(fleet=agents.fleet, state="ready").exists():
        tick_after(1)
    agents.move_away(far=True)
    held = tick_after(6)
    assert held.binding == "min_busy_percent", held.sentence
    assert "they wait" in held.sentence or "it waits" in held.sentence
    pods = Pod.objects.filter(fleet=agents.fleet).count()
    assert pods < 3
    assert tick_after(6).target == held.target
    assert Pod.objects.filter(fleet=agents.fleet).billable().count() == pods
    agents.move_away(far=False)
    tick_after(6)
    assert Pod.objects.filter(fleet=agents.fleet).count() > pods


@pytest.mark.django_db(transaction=True)
def test_no_vendor_is_asked_within_a_transaction(day: Day) -> None:
    with transaction.atomic(), pytest.raises(Violated, match="a transaction is open before GET"):
        day.operators.act_during("before GET /v2/pods")


@pytest.mark.one_database
@pytest.mark.django_db(transaction=True)
def test_the_judge_sees_a_good_item_that_a_single_pod_failed_for_good(day: Day) -> None:
    agents = day.agents[0]
    agents.add_items(3)
    fleet, client = agents.fleet, agents.server.client
    got: Any = client.xreadgroup(fleet.group, "ill", {fleet.stream: ">"})
    bad, alone, beside = (entry for entry, _ in got[0][1])
    type(fleet).objects.filter(pk=fleet.pk).update(max_deliveries=1)
    fleet.refresh_from_db()
    agents.tries.bad.add(bad)
    agents.tries.fail("ill", [bad], others=["well"])
    agents.tries.fail("ill", [alone], others=[])
    agents.acknowledged += 2
    day.invariants.check()
    agents.tries.fail("ill", [beside], others=["well"])
    agents.acknowledged += 1
    with pytest.raises(Violated, match=f"S16: good items are dead letters: .*{beside.decode()}"):
        day.invariants.check()


def test_what_a_pod_left_to_others_it_takes_again_only_after_their_turns(redis_url: str) -> None:
    fleet = Fleet(max_deliveries=5)
    tries = Tries(fleet, redis.Redis.from_url(redis_url))
    with clock.use(time := SteppedClock()):
        tries._left[b"1-0"] = Left(by="ill", at=time(), turn=0, deliveries=1)
        assert tries.may_take("well", b"1-0")
        time.advance(3600)
        assert not tries.may_take("ill", b"1-0")
        tries.turn = 2
        assert tries.may_take("ill", b"1-0")
        tries._left[b"1-0"].deliveries = fleet.max_deliveries - 1
        tries._left[b"1-0"].at = time() - timedelta(minutes=9)
        assert not tries.may_take("ill", b"1-0")


def failed_pods(count: int, *, last_at: datetime) -> None:
    fleet = Fleet.objects.get()
    for number in range(count):
        pod = a_pod(fleet, PodState.TERMINATED, template_hash="t")
        ended = last_at - timedelta(minutes=count - 1 - number)
        Pod.objects.filter(pk=pod.pk).update(retire_rule="agent_failed", failed_at=ended)


@pytest.mark.one_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("failed", "minutes", "violated"), [(2, 2, False), (3, 4, True), (3, 6, False), (4, 9, True)]
)
def test_the_judge_sees_a_fourth_pod_within_the_pause(
    failed: int, minutes: int, violated: bool
) -> None:
    fleet, now = a_fleet(), clock.utcnow()
    failed_pods(failed, last_at=now - timedelta(minutes=minutes))
    pod = a_pod(fleet, PodState.REQUESTED, template_hash="t", requested_at=now)
    PodEvent.objects.filter(pod=pod).update(by="tick")
    judge, events = Repeats(slack=timedelta(0)), list(PodEvent.objects.filter(pod=pod))
    with pytest.raises(Violated, match="S19: ") if violated else nullcontext():
        judge.check(events)
    Fleet.objects.update(try_again_at=now)  # an operator asked for it
    judge.check(events)


@pytest.mark.one_database
@pytest.mark.django_db
def test_the_judge_sees_that_nobody_is_told_what_fails() -> None:
    fleet, judge = a_fleet(), Repeats(slack=timedelta(0))
    failed_pods(2, last_at=clock.utcnow() - timedelta(minutes=10))
    judge.check_alerts(fleet, "no module")
    failed_pods(1, last_at=clock.utcnow() - timedelta(minutes=10))
    with pytest.raises(Violated, match=r"S19: 3 pods of .* failed, its alerts are \[\]"):
        judge.check_alerts(fleet, "no module")
    facts = {
        "severity": "critical",
        "first_seen_at": clock.utcnow(),
        "last_seen_at": clock.utcnow(),
    }
    Alert.objects.create(
        cause="boots_fail", subject=f"fleet:{fleet.pk}", fleet=fleet, text="no module named 'emb'",
        **facts,
    )  # fmt: skip
    judge.check_alerts(fleet, "no module")
