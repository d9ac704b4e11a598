"""What a sweep and a check write into the rows of an account, and which tasks they send."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from pods import dispatch, health
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import counters
from pods.diagnosis import INFERRED
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, PodEvent, PriceSegment
from pods.providers.base import Machine, Phase
from pods.providers.errors import AuthFailed, NotFound, Unavailable
from pods.rules import PodRule
from pods.states import BOOTING, CREATING, DRAINING, LOST, READY, STOPPED, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod, an_account, seconds
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
NOWHERE = "redis://127.0.0.1:1/0"
LONG_AGO = NOON - timedelta(hours=1)


@contextmanager
def sent() -> Iterator[list[tuple[str, tuple[int, ...], float]]]:
    """The tasks that the block sends. They go no further: the test's transaction never commits."""
    outbox = dispatch.Outbox()
    with outbox:
        yield outbox._waiting


def beat(client: redis.Redis, pod: Pod, **said: Any) -> None:
    """Write a heartbeat of one second ago, as the pod's agent does."""
    at = client.time()
    fields: dict[Any, Any] = Heartbeat(**{"state": AgentState.WORKING, **said}).fields()
    fields["at_ms"] = str(at[0] * 1000 - 1000)
    client.hset(connecting.keys(pod).pod(pod.name), mapping=fields)


def rows(*pods: Pod) -> list[dict[str, Any]]:
    return list(Pod.objects.filter(pk__in=[pod.pk for pod in pods]).order_by("pk").values())


def test_an_account_without_pods_to_watch_is_not_asked(time: SteppedClock) -> None:
    account, other = an_account(), an_account()
    fleet = a_fleet(accounts=[account, other])
    a_pod(fleet, DRAINING, account=account)
    a_pod(fleet, READY, account=account, external_id=None)
    of_other = a_pod(fleet, READY, account=other)
    vendor = OneMachine(of_other)
    assert health.sweep_account(account, connect=vendor.connect) == 0
    assert vendor.asked == []
    assert Account.objects.get(pk=account.pk).swept_at == NOON
    assert Account.objects.get(pk=other.pk).swept_at is None
    health.sweep_account(other, connect=vendor.connect)
    assert vendor.asked == ["list"]


def test_a_check_is_sent_for_each_pod_that_looks_ill_and_for_no_other(
    redis_url: str, time: SteppedClock, client: redis.Redis
) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    well, ill = a_pod(fleet, READY), a_pod(fleet, READY)
    beat(client, well)
    beat(client, ill, state=AgentState.FAILED)
    vendor = OneMachine(well)
    with sent() as tasks:
        assert health.sweep_account(account, connect=vendor.connect) == 1
    assert tasks == [("pods.check", (ill.pk,), 0)]


@pytest.mark.parametrize("fails", [None, Unavailable("no answer")])
def test_only_a_list_that_was_read_says_which_machines_are_missing(
    redis_url: str, time: SteppedClock, fails: Exception | None
) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    here = a_pod(fleet, READY, absent_since=LONG_AGO)
    missing, long_missing = a_pod(fleet, READY), a_pod(fleet, STOPPED, absent_since=LONG_AGO)
    ending = a_pod(fleet, TERMINATING, absent_since=LONG_AGO)
    vendor = OneMachine(here, fails={} if fails is None else {"list": fails})
    health.sweep_account(account, connect=vendor.connect)
    absent = [row["absent_since"] for row in rows(here, missing, long_missing, ending)]
    assert absent == (
        [None, NOON, LONG_AGO, LONG_AGO] if fails is None else [LONG_AGO, None, LONG_AGO, LONG_AGO]
    )
    assert Account.objects.get().failures == (0 if fails is None else 1)


def test_a_list_that_fails_leaves_what_a_check_found_meanwhile(
    redis_url: str, time: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = a_pod(state=READY, absent_since=LONG_AGO)

    def no_list(_vendor: OneMachine, _tag: str) -> None:
        Pod.objects.update(absent_since=None)
        raise Unavailable("no answer")

    monkeypatch.setattr(OneMachine, "list_tagged", no_list)
    health.sweep_account(pod.account, connect=OneMachine(pod).connect)
    assert Pod.objects.get().absent_since is None


@pytest.mark.parametrize(("state", "checks"), [(BOOTING, 1), (READY, 0)])
def test_only_a_pod_that_boots_is_checked_at_its_later_ages(
    redis_url: str, time: SteppedClock, state: Any, checks: int
) -> None:
    pod = a_pod(state=state)
    time.advance(31)
    with sent() as tasks:
        assert health.sweep_account(pod.account, connect=OneMachine(pod).connect) == 0
    assert len(tasks) == checks


@pytest.mark.parametrize(
    ("said", "seconds_in_state", "calls", "because"),
    [
        (AgentState.STARTING, 901, ["status", "logs"], "its last output: import loads"),
        (AgentState.STARTING, 600, ["status"], ""),  # it may still load
        (None, 901, ["status"], "no sign of its agent within 900 s"),
    ],
)
def test_a_machine_is_asked_for_its_output_where_its_handler_never_loaded(
    redis_url: str,
    time: SteppedClock,
    client: redis.Redis,
    said: AgentState | None,
    seconds_in_state: int,
    calls: list[str],
    because: str,
) -> None:
    pod = a_pod(state=BOOTING)
    if said is not None:
        beat(client, pod, state=said)
    health.sweep_account(pod.account, connect=OneMachine(pod).connect)
    time.advance(seconds_in_state)
    vendor = OneMachine(pod, output="loading\nimport loads")
    health.check_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    assert vendor.asked == calls
    assert pod.state == ("terminating" if because else "booting")
    assert pod.because.endswith(because)


def test_a_pod_that_began_to_end_during_the_sweep_keeps_what_its_end_stores(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()
    first, second, other = (a_pod(fleet, TERMINATING) for _ in range(3))
    Pod.objects.filter(pk=second.pk).update(absent_since=LONG_AGO)
    before = rows(first, second, other)
    first.absent_since, second.absent_since = LONG_AGO, None
    health._remember_absence([first, second], NOON)
    assert rows(first, second, other) == before


def test_a_pod_that_was_not_swept_keeps_its_absence(time: SteppedClock) -> None:
    fleet = a_fleet()
    first, second = a_pod(fleet, READY), a_pod(fleet, READY)
    third, fourth = (a_pod(fleet, READY, absent_since=LONG_AGO) for _ in range(2))
    first.absent_since, third.absent_since = LONG_AGO, None
    health._remember_absence([first, third], NOON)
    absent = [row["absent_since"] for row in rows(first, second, third, fourth)]
    assert absent == [NOON, None, None, LONG_AGO]


@pytest.mark.parametrize(
    ("state", "phase", "usd", "booked"),
    [
        (READY, Phase.RUNNING, Decimal(2), Decimal(2)),
        (STOPPED, Phase.RUNNING, Decimal(2), Decimal("0.5")),
        (READY, Phase.BOOTING, Decimal(2), Decimal("0.5")),
        (READY, Phase.RUNNING, None, Decimal("0.5")),
    ],
)
def test_the_price_of_a_machine_that_runs_is_followed(
    redis_url: str, time: SteppedClock, state: Any, phase: Phase, usd: Any, booked: Decimal
) -> None:
    pod = a_pod(state=state, stopped_hourly_usd=Decimal("0.5"))
    machine = Machine(
        external_id=str(pod.external_id), token="", name=pod.name, phase=phase, hourly_usd=usd
    )
    vendor = OneMachine(pod, machine=machine, listed=phase)
    with capture_logs() as logs:
        health.sweep_account(pod.account, connect=vendor.connect)
    assert "pod_not_swept" not in {entry["event"] for entry in logs}
    assert PriceSegment.objects.get(pod=pod, until=None).hourly_usd == booked


@pytest.mark.parametrize(
    ("swept", "heard"), [(seconds(300), LONG_AGO), (seconds(301), NOON), (None, LONG_AGO)]
)
def test_after_a_long_gap_without_sweeps_listening_begins_anew(
    redis_url: str, time: SteppedClock, swept: timedelta | None, heard: Any
) -> None:
    account = an_account(swept_at=None if swept is None else NOON - swept)
    pod = a_pod(a_fleet(accounts=[account]), READY, heard_since=LONG_AGO)
    health.sweep_account(account, connect=OneMachine(pod).connect)
    pod.refresh_from_db()
    assert pod.heard_since == heard


@pytest.mark.parametrize("state", [CREATING, DRAINING])
def test_a_pod_that_is_not_watched_is_not_checked(time: SteppedClock, state: Any) -> None:
    pod = a_pod(state=state)
    vendor = OneMachine(pod)
    health.check_pod(pod.pk, connect=vendor.connect)
    health.check_pod(pod.pk + 1, connect=vendor.connect)
    assert vendor.asked == []


@pytest.mark.parametrize(
    ("error", "failures", "state"),
    [(AuthFailed("no"), 1, "ready"), (Unavailable("x"), 1, "ready"), (NotFound("x"), 0, "lost")],
)
def test_a_status_that_fails_says_nothing_about_the_machine(
    redis_url: str, time: SteppedClock, error: Exception, failures: int, state: str
) -> None:
    pod = a_pod(state=READY, absent_since=LONG_AGO)
    time.advance(3600)
    health.check_pod(pod.pk, connect=OneMachine(pod, fails={"status": error}).connect)
    pod.refresh_from_db()
    assert (pod.state, Account.objects.get().failures) == (state, failures)


def test_a_machine_that_its_status_shows_is_not_missing(redis_url: str, time: SteppedClock) -> None:
    fleet = a_fleet()
    other, pod = (a_pod(fleet, READY, absent_since=LONG_AGO) for _ in range(2))
    health.check_pod(pod.pk, connect=OneMachine(pod).connect)
    assert [row["absent_since"] for row in rows(other, pod)] == [LONG_AGO, None]


@pytest.mark.parametrize(
    ("age", "state", "tasks"),
    [(29, BOOTING, [("pods.check", 2.0)]), (30, BOOTING, []), (1, READY, [])],
)
def test_a_new_pod_is_looked_at_again_soon(
    redis_url: str, time: SteppedClock, age: int, state: Any, tasks: Any
) -> None:
    pod = a_pod(state=state)
    time.advance(age)
    with sent() as left:
        health.check_pod(pod.pk, connect=OneMachine(pod).connect)
    assert [(task, countdown) for task, _, countdown in left] == tasks


@pytest.mark.parametrize("heartbeat", [True, False])
def test_a_pod_registers_by_a_heartbeat_or_by_its_consumer(
    redis_url: str, time: SteppedClock, client: redis.Redis, *, heartbeat: bool
) -> None:
    first = NOON - seconds(5)
    pod = a_pod(state=BOOTING, ready_at=first if heartbeat else None, booted_at=NOON)
    time.advance(3600)
    if heartbeat:
        beat(client, pod)
    else:
        stream, group = pod.agent["stream"], pod.agent["group"]
        client.xgroup_create(stream, group, "0", mkstream=True)
        client.xreadgroup(group, pod.name, {stream: ">"})
    health.check_pod(pod.pk, connect=OneMachine(pod).connect)
    pod.refresh_from_db()
    said = "its agent sends heartbeats" if heartbeat else "its consumer reads the backlog"
    assert (pod.state, pod.because) == ("ready", said)
    assert pod.ready_at == (first if heartbeat else NOON + timedelta(hours=1))
    # The boot of a pod that was ready before is its second one, after a stop.
    assert counters.read().get(("boot", "local", "sum")) == (None if heartbeat else 3600)


@pytest.mark.parametrize(("comes_back", "state"), [(True, "terminating"), (False, "lost")])
def test_a_missing_pod_billed_until_it_was_first_missing(
    redis_url: str, time: SteppedClock, *, comes_back: bool, state: str
) -> None:
    pod = a_pod(state=READY)
    time.advance(3600)
    since = NOON + timedelta(minutes=30)
    Pod.objects.update(absent_since=since)
    vendor = OneMachine(pod, by_status=None)
    vendor.capabilities = replace(vendor.capabilities, comes_back=comes_back)
    with sent() as tasks:
        health.check_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    assert (pod.state, pod.lost_because, bool(pod.retire_because)) == (state, "absent", comes_back)
    assert [task for task, _, _ in tasks] == (["pods.teardown"] if comes_back else [])
    assert PriceSegment.objects.get().until == since


@pytest.mark.parametrize(
    ("phase", "lost"), [(Phase.FAILED, "machine failed"), (Phase.STOPPED, "stopped unasked")]
)
def test_a_machine_that_ended_by_itself_is_lost_and_an_agent_that_failed_is_not(
    redis_url: str, time: SteppedClock, client: redis.Redis, phase: Phase, lost: str
) -> None:
    fleet = a_fleet()
    pod, other = a_pod(fleet, READY), a_pod(fleet, READY)
    health.check_pod(pod.pk, connect=OneMachine(pod, by_status=phase).connect)
    pod.refresh_from_db()
    assert (pod.state, pod.lost_because, pod.retire_because) == ("terminating", lost, lost)
    beat(client, other, state=AgentState.FAILED, note="no GPU", done=3)
    health.check_pod(other.pk, connect=OneMachine(other).connect)
    other.refresh_from_db()
    assert (other.lost_because, other.retire_because) == ("", "agent failed: no GPU")
    assert (other.done, other.last_note, other.failed_at) == (3, "no GPU", NOON)


def test_only_a_share_of_a_fleets_pods_is_ended_on_inference(
    redis_url: str, time: SteppedClock
) -> None:
    fleet = a_fleet()
    pods = [a_pod(fleet, READY, beat_at=NOON) for _ in range(2)]
    health.sweep_account(pods[0].account, connect=OneMachine(pods[0]).connect)
    time.advance(3600)
    for pod in pods:
        health.check_pod(pod.pk, connect=OneMachine(pod).connect)
    kept = Pod.objects.get(state="ready")
    assert kept.note.startswith(
        "not ended yet, because a pod like it was ended a short time ago: silent"
    )
    assert PodRule.SILENT.value in {finding.value for finding in INFERRED}
    health.check_pod(kept.pk, connect=OneMachine(kept, by_status=Phase.FAILED).connect)
    kept.refresh_from_db()
    assert (kept.state, kept.because) == ("terminating", "machine failed")  # a vendor's own word


@pytest.mark.parametrize(
    ("change", "may"),
    [
        ({}, False),
        ({"at": NOON - timedelta(minutes=10)}, True),
        ({"after": "lost"}, True),
        ({"rule": "operator"}, True),
    ],
)
def test_what_counts_as_ended_on_inference_within_the_window(
    time: SteppedClock, change: dict[str, str], may: bool
) -> None:
    fleet, other = a_fleet(), a_fleet()
    ended = {"at": NOON, "by": "health", "after": "terminating", "rule": "silent", **change}
    for pod in (a_pod(fleet), *(a_pod(other) for _ in range(3))):
        PodEvent.objects.create(pod=pod, **(ended if pod.fleet == fleet else ended | {"at": NOON}))
    assert health.may_end_ill(fleet.pk, peers=2, now=NOON) is may
    assert health.may_end_ill(a_fleet().pk, peers=0, now=NOON)


def test_which_pods_are_peers_and_which_of_them_succeed(time: SteppedClock) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, rate=1.0)
    a_pod(a_fleet(), READY, rate=1.0)
    a_pod(fleet, DRAINING, rate=1.0)
    a_pod(fleet, BOOTING)
    assert (health._peers(pod), health._others_succeed(pod)) == (2, False)
    other = a_pod(fleet, READY)
    assert (health._peers(pod), health._others_succeed(pod)) == (3, False)
    Pod.objects.filter(pk=other.pk).update(rate=0.5)
    assert health._others_succeed(pod)
    assert LOST not in {READY, BOOTING}


@pytest.mark.parametrize(("rate", "ends"), [(1.0, True), (0.0, False)])
@pytest.mark.parametrize("failing", [0, 1000])
def test_a_pod_is_at_fault_where_it_fails_everything_and_another_succeeds(
    redis_url: str,
    time: SteppedClock,
    client: redis.Redis,
    rate: float,
    failing: int,
    *,
    ends: bool,
) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, done=9)
    a_pod(fleet, READY, rate=rate, account=an_account())
    beat(client, pod, failing=failing, done=9, uptime_ms=10**7)
    vendor, account = OneMachine(pod), Account.objects.get(pk=pod.account_id)
    assert health.sweep_account(pod.account, connect=vendor.connect) == 0
    time.advance(3600)  # of the manager's clock alone: the heartbeat is by that of Redis
    assert health.sweep_account(account, connect=vendor.connect) == (ends and failing > 0)
    health.check_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    assert pod.state == ("terminating" if ends and failing else "ready")
