"""Whose pods, machines, ticks and heartbeats a tick reads, and what it keeps."""

from decimal import Decimal
from typing import Any

import pytest

from fleet.backlog.base import Depth
from fleet.decision.placement import Experience
from fleet.models import Fleet, Limits, Tick
from fleet.tick import gathering, requesting
from pods.agent.protocol import AgentState, Heartbeat
from pods.agent_redis import heartbeats
from pods.agent_redis.heartbeats import Beat, Consumer, Readings
from pods.emulators.base import SteppedClock
from pods.models import Orphan
from pods.states import BOOTING, READY, STOPPED, TERMINATED
from tests.support.factories import NOON, a_fleet, a_pod, seconds, snapshot

pytestmark = pytest.mark.django_db
KNOWN = Experience(speeds={("", 0): 2.0})
CLOSED = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    return a_fleet()


def an_orphan(fleet_id: int | None, account: Any, usd: str = "1", **values: Any) -> None:
    Orphan.objects.create(
        account=account, external_id=f"m-{Orphan.objects.count()}", name="x", fleet_id=fleet_id,
        hourly_usd=Decimal(usd), first_seen_at=NOON, last_seen_at=NOON, **values,
    )  # fmt: skip


def a_beat(**said: Any) -> Beat:
    return Beat(age=seconds(1), said=Heartbeat(state=AgentState.WORKING, **said))


def gather(fleet: Fleet, **options: Any) -> gathering.Gathered:
    return gathering.gather(Fleet.objects.get(pk=fleet.pk), NOON, **options)


def test_a_tick_counts_the_pods_and_machines_of_its_own_fleet(fleet: Fleet) -> None:
    other, account = a_fleet(), fleet.accounts.get()
    mine = a_pod(fleet, READY)
    a_pod(fleet, TERMINATED)
    a_pod(other, READY)
    for pk, values in ((fleet.pk, {}), (fleet.pk, {"gone_at": NOON}), (other.pk, {}), (None, {})):
        an_orphan(pk, account, **values)
    found = gather(fleet)
    assert (found.pods.keys(), [p.pod_id for p in found.seen.pods]) == ({mine.pk}, [mine.pk])
    assert (found.seen.orphans, found.seen.orphans_hourly_usd) == (1, 1)


def test_without_machines_without_a_row_none_is_counted(fleet: Fleet) -> None:
    found = gather(fleet).seen
    assert (found.orphans, found.orphans_hourly_usd) == (0, 0)


def test_the_last_tick_is_that_of_the_fleet_before_this_moment(fleet: Fleet) -> None:
    assert gather(fleet).last_tick_at is None
    counts = {"active": 0, "desired": 0, "target": 0}
    for token, ago in enumerate((9, 5, 0)):
        Tick.objects.create(fleet=fleet, at=NOON - seconds(ago), token=token, **counts)
    assert gather(fleet).last_tick_at == NOON - seconds(5)


def test_a_reason_not_to_read_the_backlog_is_the_reason_why_it_is_unknown(fleet: Fleet) -> None:
    found = gather(fleet, unread_because="it is elsewhere")
    assert (found.depth, found.seen.unknown_because) == (None, "it is elsewhere")


@pytest.mark.parametrize("made", [True, False])
def test_a_stream_that_is_not_there_is_empty_only_if_it_is_made_now(
    fleet: Fleet, made: bool
) -> None:
    depth, because = gathering.measure(fleet, made_by_saving=made)
    assert (depth is not None and depth.items == 0) is made
    assert ("no stream" in because) is not made


def test_the_backlog_is_that_of_the_fleets_own_server(fleet: Fleet) -> None:
    assert "no stream" in gathering.measure(fleet)[1]
    fleet.backlog_url = CLOSED
    depth, because = gathering.measure(fleet)
    assert depth is None
    assert "no stream" not in because


@pytest.mark.parametrize(("unheard", "rate"), [(False, 4.0), (True, None)])
def test_a_pod_that_was_not_heard_hides_the_rate_and_the_consumers(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, unheard: bool, rate: float | None
) -> None:
    speaks, silent = a_pod(fleet, READY, silent_seconds=60), a_pod(fleet, READY)
    asked: list[bool] = []

    def read(pods: Any, *, consumers: bool = False, renew: bool = False) -> Readings:
        asked.append(consumers)
        beats = {speaks.pk: a_beat(rate=4.0, done=10**6, uptime_ms=60_000)}
        missing = frozenset([silent.pk] if unheard else [])
        return Readings(beats=beats, consumers={}, unheard=missing)

    monkeypatch.setattr(heartbeats, "read", read)
    assert gather(fleet).seen.items_per_second == rate
    assert asked == ([False] if unheard else [False, True])


def test_without_an_answer_no_heartbeat_is_known(fleet: Fleet) -> None:
    assert gathering._beats([], renew=False) == ({}, True)
    pod = a_pod(fleet, READY, redis_url=CLOSED)
    assert gathering._beats([pod], renew=False) == ({}, False)
    assert gathering._plain_consumers([pod], {}) == {}


def test_only_ready_pods_without_a_heartbeat_may_be_plain_consumers(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = [a_pod(fleet, state) for state in (READY, READY, BOOTING)]
    asked: list[int] = []

    def read(silent: Any, *, consumers: bool) -> Readings:
        asked.extend(pod.pk for pod in silent)
        return Readings(
            beats={}, consumers={pods[1].pk: Consumer(asked=seconds(1), idle=None, pending=0)}
        )

    monkeypatch.setattr(heartbeats, "read", read)
    assert gathering._plain_consumers(pods, {pods[0].pk: a_beat()}).keys() == {pods[1].pk}
    assert asked == [pods[1].pk]


def test_what_a_booting_machine_says_is_its_note() -> None:
    fleet = a_fleet()
    pods = [a_pod(fleet, state, note="old") for state in (BOOTING, BOOTING, READY)]
    beats = {pods[0].pk: a_beat(note="loads"), pods[2].pk: a_beat(note="works")}
    gathering._take_notes(pods, beats)
    assert [pod.note for pod in pods] == ["loads", "old", "old"]


@pytest.mark.parametrize(
    ("bundle", "command", "old"), [("", "", False), ("x", "", True), ("", "run", True)]
)
def test_a_pod_with_other_code_or_another_command_runs_something_old(
    bundle: str, command: str, old: bool
) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, start_command=command)
    pod.agent = {**pod.agent, "bundle": bundle} if bundle else {}
    facts = [gathering._pod_facts(pod, None, None, KNOWN, None, NOON)]
    [seen] = gathering._with_trials(fleet, facts, [pod], set())
    assert seen.outdated is old


@pytest.mark.parametrize(
    ("state", "goal", "priced"),
    [
        (STOPPED, "demand", True),
        (READY, "demand", False),
        (READY, "cheapest", True),
        (STOPPED, "cheapest", True),
    ],
)
def test_what_a_million_items_cost_is_read_of_stopped_pods_and_for_a_goal(
    state: Any, goal: str, priced: bool
) -> None:
    fleet = a_fleet()
    fleet.goal = goal
    pod = a_pod(fleet, state, gpu_type="", gpu_count=0)
    [facts] = gathering._facts(fleet, [pod], {}, {}, KNOWN, None, NOON)
    assert (facts.million_items_usd is not None) is priced


def gathered(proven: bool) -> Any:
    facts: dict[str, Any] = {"policy": None, "pods": {}, "depth": None, "last_tick_at": None}
    return gathering.Gathered(seen=snapshot(1, proven=proven), limits_version=0, **facts)


@pytest.mark.parametrize("proven", [True, False])
def test_that_a_template_works_is_kept_on_the_row_of_its_fleet(proven: bool) -> None:
    fleet, other = a_fleet(), a_fleet()
    gathering.remember_proven(fleet, gathered(proven))
    kept = requesting.template_hash(fleet) if proven else ""
    assert Fleet.objects.get(pk=fleet.pk).proven_template == kept
    assert Fleet.objects.get(pk=other.pk).proven_template == ""


def test_what_is_known_already_is_not_written_again(django_assert_num_queries: Any) -> None:
    fleet = a_fleet()
    fleet.proven_template, fleet.dead_letters = requesting.template_hash(fleet), 3
    seen = gathered(True)
    object.__setattr__(seen, "depth", Depth(waiting=1, pending=0, dead=3))
    with django_assert_num_queries(0):
        gathering.remember_proven(fleet, seen)
        gathering.remember_dead(fleet, seen)


def test_a_pod_that_was_never_ready_takes_no_boots_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "BOOTS_MEASURED", 1)
    fleet = a_fleet()
    boot = {"ready_at": NOON, "asked_at": NOON - seconds(60)}
    a_pod(fleet, READY, requested_at=NOON - seconds(70), **boot)
    a_pod(fleet, BOOTING, requested_at=NOON)
    assert gathering._boot_time(fleet) == seconds(60)


@pytest.mark.parametrize("limit", ["max_instances", "max_hourly_usd", "daily_budget_usd", None])
def test_what_other_fleets_have_is_read_only_for_a_limit_of_the_installation(
    limit: str | None,
) -> None:
    fleet, other = a_fleet(), a_fleet()
    a_pod(fleet, READY)
    a_pod(other, READY, hourly_usd=Decimal(3))
    an_orphan(fleet.pk, fleet.accounts.get())
    for pk in (other.pk, None):
        an_orphan(pk, fleet.accounts.get(), "0.5")
    an_orphan(other.pk, fleet.accounts.get(), gone_at=NOON)
    limits = Limits(**{limit: 9} if limit else {})
    found = gathering.elsewhere(fleet, limits, NOON)
    assert (found.pods, found.hourly_usd) == ((3, 4) if limit else (0, 0))
