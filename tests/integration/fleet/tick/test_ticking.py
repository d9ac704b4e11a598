"""One tick against real rows and a real Valkey."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
import redis
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from benchmarks.tick import fill, round_trips
from fleet import operating
from fleet.decision.values import Mode
from fleet.items.room import Room
from fleet.models import Fleet, Lease, Limits, Tick
from fleet.operating import EditedMeanwhile
from fleet.pages.status import status_of
from fleet.tick import requesting, ticking
from fleet.tick.recording import replayed
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat, Keys
from pods.base import clock
from pods.base.redis import redis_client
from pods.emulators.base import SteppedClock
from pods.models import Account, Orphan, Pod, PodEvent
from pods.states import CREATING, READY, REQUESTED, TERMINATING, PodState
from tests.support.factories import NOON, OFFER, a_fleet, a_pod, an_account
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    account = an_account(offers=[OFFER])
    made: Fleet = a_fleet(accounts=[account], name="emb", max_instances=5, target_depth_per_pod=10)
    Fleet.objects.filter(pk=made.pk).update(
        proven_template=requesting.template_hash(
            made
        )  # else the canary limits the fleet to one pod
    )
    operating.make_group(made)
    return made


def tick(fleet: Fleet) -> Tick:
    assert ticking.tick_fleet(fleet.pk) is not None
    return Tick.objects.order_by("-pk")[0]


def test_a_tick_writes_its_decision_and_new_pods_and_sends_on_commit(
    fleet: Fleet, redis_url: str, django_capture_on_commit_callbacks: Any
) -> None:
    add_items(redis_url, 100)
    with (
        mock.patch("pods.dispatch.current_app.send_task") as sent,
        django_capture_on_commit_callbacks(execute=True),
    ):
        decided = tick(fleet)
        assert not sent.called  # no task is sent before the rows are committed
    pod = Pod.objects.get()
    assert (pod.state, pod.hourly_usd, pod.offer_key) == ("requested", Decimal("0.5"), "local")
    assert [c.args[0] for c in sent.call_args_list] == ["pods.spawn"]
    assert (decided.desired, decided.spawned, decided.binding) == (5, 1, "spawn_per_tick")
    assert PodEvent.objects.get(pod=pod).after == "requested"
    assert replayed(decided.snapshot).depth == 100


def test_a_requested_pod_counts_in_the_next_tick(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 10)
    tick(fleet)
    assert tick(fleet).spawned == 0
    assert Pod.objects.count() == 1


@pytest.mark.parametrize("state", [CREATING, TERMINATING])
def test_unknown_and_leaving_pods_count_in_the_next_tick(
    fleet: Fleet, redis_url: str, state: PodState
) -> None:
    Fleet.objects.update(max_instances=1)
    add_items(redis_url, 100)
    a_pod(fleet, state)
    assert tick(fleet).spawned == 0


@pytest.mark.fault(47)
@pytest.mark.parametrize("budget", ["daily_budget_usd", "total_budget_usd"])
def test_spending_counts_while_the_backlog_is_unknown(
    fleet: Fleet, redis_url: str, budget: str
) -> None:
    Fleet.objects.update(**{budget: Decimal(1)})
    stepped = SteppedClock(NOON)
    with clock.use(stepped):
        a_pod(fleet, READY)  # $0.5/h
        redis.Redis.from_url(redis_url, protocol=2).flushall()
        assert tick(fleet).retired == 0
        stepped.advance(3 * 3600)
        decided = tick(fleet)
    assert (decided.depth, decided.retired, decided.binding) == (None, 1, budget)


def test_a_tick_tells_the_agents_that_a_manager_lives(fleet: Fleet, redis_url: str) -> None:
    a_pod(fleet, READY)
    client = redis.Redis.from_url(redis_url, protocol=2)
    tick(fleet)
    before = int(client.get(Keys("emb").lease) or 0)
    tick(fleet)
    assert int(client.get(Keys("emb").lease) or 0) > before


@pytest.mark.fault(42)
def test_a_second_tick_at_the_same_time_leaves_at_once(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 100)
    assert ticking.take_lease(fleet) is not None
    assert ticking.tick_fleet(fleet.pk) is None
    assert not Tick.objects.exists()


@pytest.mark.fault(44)
@pytest.mark.parametrize("items", [100, 0])
def test_a_slow_holder_finds_its_token_out_of_date_and_writes_nothing(
    fleet: Fleet, redis_url: str, items: int
) -> None:
    add_items(redis_url, items)
    stepped = SteppedClock(NOON)
    gather = ticking.gathering.gather

    def slow(*args: Any, **options: Any) -> Any:
        gathered = gather(*args, **options)
        stepped.advance(ticking.LEASE.total_seconds() + 1)
        with mock.patch.object(ticking.gathering, "gather", gather):
            assert ticking.tick_fleet(fleet.pk) is not None
        return gathered

    with clock.use(stepped), mock.patch.object(ticking.gathering, "gather", slow):
        assert ticking.tick_fleet(fleet.pk) is None
    assert Pod.objects.count() == bool(items)
    assert Tick.objects.count() == 1


@pytest.mark.fault(44)
def test_a_killed_holder_blocks_for_the_lease_and_no_longer(fleet: Fleet) -> None:
    stepped = SteppedClock(NOON)
    with clock.use(stepped):
        ticking.take_lease(fleet)
        stepped.advance(ticking.LEASE.total_seconds() - 1)
        assert ticking.tick_fleet(fleet.pk) is None
        stepped.advance(2)
        assert ticking.tick_fleet(fleet.pk) is not None


def test_a_tick_that_fails_gives_the_lease_back(fleet: Fleet) -> None:
    with (
        mock.patch.object(ticking, "decide", side_effect=RuntimeError),
        pytest.raises(RuntimeError),
    ):
        ticking.tick_fleet(fleet.pk)
    assert Lease.objects.get(fleet=fleet).until is None


def test_a_pod_that_appears_during_the_tick_is_counted_before_anything_starts(
    fleet: Fleet, redis_url: str
) -> None:
    add_items(redis_url, 100)
    decide = ticking.decide

    def meanwhile(*args: Any) -> Any:
        a_pod(fleet, TERMINATING)
        return decide(*args)

    with mock.patch.object(ticking, "decide", meanwhile):
        assert ticking.tick_fleet(fleet.pk) is None
    assert not Pod.objects.filter(state=REQUESTED.value).exists()
    assert tick(fleet).spawned == 1


@pytest.mark.fault(47)
def test_an_unreadable_backlog_changes_nothing_and_says_so(fleet: Fleet, redis_url: str) -> None:
    a_pod(fleet, READY)
    redis.Redis.from_url(redis_url, protocol=2).flushall()  # F45 too: Redis restarted empty
    decided = tick(fleet)
    assert decided.depth is None
    assert (decided.spawned, decided.retired, decided.binding) == (0, 0, "")
    assert "unknown" in decided.sentence
    assert "no stream embedding_tasks" in decided.sentence


@pytest.mark.fault(45)
def test_redis_down_changes_nothing(fleet: Fleet) -> None:
    a_pod(fleet, READY)
    Fleet.objects.update(backlog_url="redis://127.0.0.1:1/0")
    Pod.objects.update(redis_url="redis://127.0.0.1:1/0")
    decided = tick(fleet)
    assert (decided.depth, decided.spawned, decided.retired) == (None, 0, 0)


def test_pending_items_of_dead_consumers_are_backlog(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 30)
    client = redis.Redis.from_url(redis_url, protocol=2)
    client.xreadgroup("embedding_tasks", "dead", {"embedding_tasks": ">"}, count=30)
    decided = tick(fleet)
    assert (decided.depth, decided.pending, decided.desired) == (30, 30, 3)


@pytest.mark.parametrize("size", [1, 40])
def test_the_cost_of_a_tick_does_not_grow_with_the_pods(
    fleet: Fleet, redis_url: str, size: int
) -> None:
    add_items(redis_url, 5)
    fill(fleet, size)
    ticking.tick_fleet(fleet.pk)
    with CaptureQueriesContext(connection) as queries, round_trips() as sent:
        assert ticking.tick_fleet(fleet.pk) is not None
    # PostgreSQL is asked for its clock too.
    assert len(queries) <= 26 + (connection.vendor == "postgresql"), [
        q["sql"][:90] for q in queries
    ]
    assert len(sent) <= 4
    seen = test_the_cost_of_a_tick_does_not_grow_with_the_pods.__dict__.setdefault("seen", {})
    seen[size] = (len(queries), len(sent))
    assert len(set(seen.values())) == 1, seen


@pytest.mark.fault(48)
def test_a_lowered_limit_retires_in_the_next_tick(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 1000)
    for n in range(3):
        a_pod(fleet, READY, hourly_usd=Decimal(n))
    operating.edit(fleet, {"max_instances": 1}, by="ann")
    assert tick(fleet).retired == 2
    assert sorted(Pod.objects.filter(state="draining").values_list("hourly_usd", flat=True)) == [
        1,
        2,
    ]


@pytest.mark.fault(48)
def test_two_operators_who_edit_at_once_do_not_overwrite_each_other(fleet: Fleet) -> None:
    fleet.refresh_from_db()
    hers, his = Fleet.objects.get(pk=fleet.pk), Fleet.objects.get(pk=fleet.pk)
    operating.edit(hers, {"max_instances": 7}, by="ann")
    with pytest.raises(EditedMeanwhile, match="somebody else changed"):
        operating.edit(his, {"max_instances": 2}, by="bob")
    assert Fleet.objects.get(pk=fleet.pk).max_instances == 7
    assert Fleet.history.filter(id=fleet.pk).count() >= 2


@pytest.mark.fault(13)
def test_a_pause_takes_back_uncreated_pods_and_keeps_running_ones(
    fleet: Fleet, redis_url: str
) -> None:
    add_items(redis_url, 1000)
    for state in (REQUESTED, CREATING, READY):
        a_pod(fleet, state)
    operating.set_mode(Fleet.objects.get(pk=fleet.pk), Mode.PAUSED, by="ann")
    tick(fleet)
    left = {p.state: p.retire_because for p in Pod.objects.all()}
    assert left.keys() == {"failed", "creating", "ready"}
    assert "paused before it was created" in left["creating"]
    assert not left["ready"]


@pytest.mark.fault(13)
def test_a_pause_starts_nothing_and_stop_all_ends_everything(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 1000)
    operating.set_mode(Fleet.objects.get(pk=fleet.pk), Mode.PAUSED, by="ann")
    assert (tick(fleet).spawned, tick(fleet).binding) == (0, "paused")
    a_pod(fleet, REQUESTED)
    a_pod(fleet, READY)
    operating.set_mode(Fleet.objects.get(pk=fleet.pk), Mode.STOP_ALL, by="ann")
    tick(fleet)
    assert sorted(Pod.objects.values_list("state", flat=True)) == ["draining", "failed"]


def test_the_installations_limits_hold_over_all_fleets(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 1000)
    other = a_fleet(name="other", accounts=list(fleet.accounts.all()))
    a_pod(other, READY, hourly_usd=Decimal(2))
    limits = Limits.get()
    limits.max_instances = 1
    limits.save()
    decided = tick(fleet)
    assert (decided.binding, decided.spawned) == ("installation_instances", 0)
    limits.max_instances, limits.max_hourly_usd = None, Decimal("2.4")
    limits.save()
    decided = tick(fleet)
    assert (decided.binding, decided.spawned) == ("installation_hourly_usd", 0)


def test_orphans_take_places_and_money(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 1000)
    operating.edit(Fleet.objects.get(pk=fleet.pk), {"max_instances": 1}, by="ann")
    Orphan.objects.create(
        account=fleet.accounts.get(),
        external_id="m-1",
        name="x",
        fleet_id=fleet.pk,
        first_seen_at=NOON,
        last_seen_at=NOON,
        hourly_usd=Decimal("0.6"),
    )
    decided = tick(fleet)
    assert (decided.binding, decided.spawned) == ("room", 0)
    Fleet.objects.update(max_instances=5, max_hourly_usd=1)  # and the offer costs $0.5
    decided = tick(fleet)
    assert (decided.binding, decided.spawned) == ("max_hourly_usd", 0)


def test_a_disabled_or_failing_account_is_not_rented_from(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 1000)
    Account.objects.update(open_until=clock.utcnow() + timedelta(hours=1))
    assert "left alone after failures" in tick(fleet).sentence
    Account.objects.update(open_until=None, offers=[])
    assert "it has no offer now" in tick(fleet).sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_instances": 1, "min_instances": 2},
        {"mode": "dancing"},
        {"max_hourly_usd": Decimal(-1)},
        {"target_depth_per_pod": 0},
    ],
)
def test_the_database_refuses_what_the_forms_would(fleet: Fleet, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Fleet.objects.filter(pk=fleet.pk).update(**wrong)


def test_the_database_refuses_impossible_pods(fleet: Fleet) -> None:
    pod = a_pod(fleet, READY)
    twin = a_pod(fleet, READY)
    for wrong in (
        {"state": "dancing"},
        {"hourly_usd": Decimal(-1)},
        {"external_id": pod.external_id},
        {"client_token": pod.client_token},
        {"external_id": ""},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Pod.objects.filter(pk=twin.pk).update(**wrong)
    with pytest.raises(TypeError, match="history"):
        pod.events.get().save()


def test_a_pod_that_claims_a_huge_rate_does_not_keep_others_from_starting(
    fleet: Fleet, redis_url: str
) -> None:
    add_items(redis_url, 100)
    now = clock.utcnow()
    boots = {"asked_at": now - timedelta(minutes=9), "ready_at": now - timedelta(minutes=5)}
    looked = {"beat_at": now - timedelta(minutes=1), "done": 40, "rate": 0.1}
    pod = a_pod(fleet, READY, **boots, **looked)
    client = redis_client(redis_url)
    seconds, micros = client.time()
    said = Heartbeat(
        state=AgentState.WORKING, rate=1e9, done=43, in_flight=4, uptime_ms=300_000
    ).fields()
    at = {"at_ms": str(seconds * 1000 + micros // 1000)}
    client.hset(connecting.keys(pod).pod(pod.name), mapping={**said, **at})
    decided = tick(fleet)
    assert decided.items_per_second == pytest.approx(0.2)  # 3 items in half a minute, twice
    assert decided.spawned == 1


def test_items_that_a_feeder_still_has_count_for_the_decision_and_the_eta(
    fleet: Fleet, redis_url: str
) -> None:
    add_items(redis_url, 10)
    assert ticking.preview(fleet).desired == 1
    client = redis_client(redis_url)
    Room(client, fleet.stream, max_length=1_000).take(0, ahead=30)
    assert ticking.preview(fleet).desired == 4
    pod = a_pod(fleet, READY)
    seconds, micros = client.time()
    said = Heartbeat(state=AgentState.WORKING, rate=0.5, done=15).fields()
    at = {"at_ms": str(seconds * 1000 + micros // 1000)}
    client.hset(connecting.keys(pod).pod(pod.name), mapping={**said, **at})
    status = status_of(fleet)
    assert (status.depth, status.eta) == (40, timedelta(seconds=80))
