"""Each step of a spawn, by the row, the account and what the provider answers."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods import dispatch, spawning
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, PriceSegment
from pods.providers.base import Capabilities, Machine, Phase
from pods.providers.errors import (
    AuthFailed,
    LoginRefused,
    NoCapacity,
    ProviderError,
    RateLimited,
    Refused,
    Unavailable,
)
from pods.rules import PodRule
from pods.states import BOOTING, CREATING, DRAINING, REQUESTED
from tests.support.factories import NOON, a_fleet, a_pod, an_account, seconds
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
LONG_AGO = NOON - timedelta(hours=1)
NOWHERE = "redis://127.0.0.1:1/0"


def spawn(pod: Pod, vendor: OneMachine) -> list[Any]:
    """Do one step; returns the tasks that it sends. No row of another pod changes."""
    a_pod(pod.fleet, CREATING, asked_at=LONG_AGO)
    others = Pod.objects.exclude(pk=pod.pk).order_by("pk")
    before = list(others.values())
    outbox = dispatch.Outbox()
    with outbox:
        spawning.spawn_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    assert list(others.values()) == before
    return [(task, countdown) for task, (pk,), countdown in outbox._waiting if pk == pod.pk]


@pytest.mark.parametrize(
    ("row", "listed", "calls", "state", "because"),
    [
        ({}, None, ["list", "create"], "booting", "its machine was created"),
        ({}, Phase.RUNNING, ["list"], "booting", "its machine was created"),
        ({}, Phase.GONE, ["list", "create"], "booting", "its machine was created"),
        ({"external_id": "machine-1"}, None, [], "booting", "its machine was created"),
        ({"asked_at": NOON - seconds(59)}, None, ["list"], "creating", ""),
        ({"asked_at": None}, None, ["list"], "creating", ""),
        ({"attempts": 5, "note": "no answer: x"}, None, ["list"], "failed",
         "no machine was created; 5 tries: no answer: x"),
        ({"attempts": 4}, None, ["list", "create"], "booting", "its machine was created"),
        ({"retire_rule": "operator", "retire_because": "x"}, None, ["list"], "failed",
         "no machine was created; x"),
        ({"retire_rule": "operator", "retire_because": "x"}, Phase.RUNNING, ["list"], "terminating",
         "x"),
    ],
)  # fmt: skip
def test_a_pod_whose_machine_may_have_been_asked_for(
    redis_url: str,
    time: SteppedClock,
    row: Any,
    listed: Any,
    calls: list[str],
    state: str,
    because: str,
) -> None:
    pod = a_pod(state=CREATING, **{"asked_at": LONG_AGO, **row})
    vendor = OneMachine(pod, listed=listed)
    vendor.capabilities = Capabilities(list_lag=seconds(60))
    tasks = spawn(pod, vendor)
    assert (vendor.asked, pod.state) == (calls, state)
    assert not because or pod.because == because
    assert pod.retire_rule == row.get("retire_rule", "no_answer" if state == "failed" else "")
    if state == "creating":
        wait = 1 if row["asked_at"] else 60
        assert tasks == [("pods.spawn", wait)]
        assert pod.note == "waiting until the provider's list can be trusted"
    else:
        assert [task for task, _ in tasks] == {
            "booting": ["pods.check"], "terminating": ["pods.teardown"], "failed": []
        }[state]  # fmt: skip


@pytest.mark.parametrize("state", [BOOTING, DRAINING])
def test_a_pod_that_is_past_its_create_is_left_alone(time: SteppedClock, state: Any) -> None:
    pod = a_pod(state=state)
    vendor = OneMachine(pod)
    spawn(pod, vendor)
    assert (pod.status, vendor.asked) == (state, [])


@pytest.mark.parametrize(
    ("state", "calls", "because"),
    [
        (REQUESTED, [], "the account acme is disabled; the provider was not asked"),
        (CREATING, ["list"], "the account acme is disabled"),
    ],
)
def test_nothing_is_rented_on_an_account_that_was_closed(
    redis_url: str, time: SteppedClock, state: Any, calls: list[str], because: str
) -> None:
    fleet = a_fleet(accounts=[an_account(name="acme")])
    pod = a_pod(fleet, state, asked_at=LONG_AGO)
    Account.objects.update(enabled=False)
    vendor = OneMachine(pod, listed=None)
    spawn(pod, vendor)
    assert (pod.state, pod.because, pod.retire_rule) == ("failed", because, "cannot_connect")
    assert vendor.asked == calls
    assert not PriceSegment.objects.filter(pod=pod).exists()


@pytest.mark.parametrize(
    ("usd", "ordered", "shown"), [(None, "", "L4"), (Decimal(2), "A100", "A100")]
)
def test_what_the_vendor_says_of_a_new_machine_is_kept_and_what_was_ordered_stays(
    redis_url: str, time: SteppedClock, usd: Decimal | None, ordered: str, shown: str
) -> None:
    pod = a_pod(state=REQUESTED, gpu_type=ordered, region="old")
    facts = {"hourly_usd": usd, "gpu_type": "L4", "host": "h1", "console_url": "https://c"}
    machine = Machine(external_id="m9", token="", name=pod.name, phase=Phase.BOOTING, **facts)
    spawn(pod, OneMachine(pod, listed=None, machine=machine))
    assert (pod.external_id, pod.gpu_type, pod.host) == ("m9", shown, "h1")
    assert (pod.console_url, pod.region) == ("https://c", "old")
    assert pod.hourly_usd == (usd or Decimal("0.5"))
    assert PriceSegment.objects.get(pod=pod, until=None).hourly_usd == pod.hourly_usd


@pytest.mark.parametrize(
    ("error", "state", "rule", "failures", "wait"),
    [
        (Refused("no"), "failed", "refused", 0, None),
        (Refused("no", billing_id="m9"), "terminating", "refused", 0, None),
        (NoCapacity("no"), "failed", "no_capacity", 0, None),
        (AuthFailed("no"), "failed", "auth_failed", 1, None),
        (RateLimited("slow down", retry_after=40), "creating", "", 0, 40),
        (RateLimited("slow down"), "creating", "", 0, 2),
        (Unavailable("x"), "creating", "", 1, 60),
    ],
    ids=["refused", "refused and billed", "taken", "a bad key", "wait", "wait somewhat", "lost"],
)
def test_a_create_that_fails(
    redis_url: str,
    time: SteppedClock,
    error: ProviderError,
    state: str,
    rule: str,
    failures: int,
    wait: int | None,
) -> None:
    pod = a_pod(state=REQUESTED)
    vendor = OneMachine(pod, listed=None, fails={"create": error})
    vendor.capabilities = Capabilities(list_lag=seconds(60))
    tasks = spawn(pod, vendor)
    assert (pod.state, pod.retire_rule) == (state, rule)
    assert (pod.external_id, pod.asked_at) == ("m9" if state == "terminating" else None, NOON)
    assert pod.account.failures == failures or Account.objects.get().failures == failures
    assert PriceSegment.objects.filter(pod=pod).exists() is (state != "failed")
    assert tasks == {
        "failed": [], "terminating": [("pods.teardown", 0)], "creating": [("pods.spawn", wait)]
    }[state]  # fmt: skip
    assert pod.attempts == (1 if state == "creating" else 0)


@pytest.mark.parametrize(
    ("error", "because"),
    [
        (Refused("denied"), "denied"),
        (
            LoginRefused("denied"),
            "the registry ghcr.io does not give ghcr.io/ann/worker:4 without a login, and account "
            "acme has none there: denied",
        ),
    ],
)
def test_a_refusal_says_whether_a_login_is_missing(
    redis_url: str, time: SteppedClock, error: Refused, because: str
) -> None:
    fleet = a_fleet(accounts=[an_account(name="acme")])
    pod = a_pod(fleet, REQUESTED, image="ghcr.io/ann/worker:4")
    spawn(pod, OneMachine(pod, listed=None, fails={"create": error}))
    assert (pod.state, pod.because) == ("failed", because)


@pytest.mark.parametrize(
    ("takes_args", "here", "command", "state"),
    [
        (True, False, "serve", "booting"),
        (False, True, "serve", "booting"),
        (False, False, "", "booting"),
        (False, False, "serve", "failed"),
    ],
)
def test_no_machine_is_rented_whose_start_command_would_be_left_out(
    redis_url: str, time: SteppedClock, command: str, state: str, *, takes_args: bool, here: bool
) -> None:
    pod = a_pod(state=REQUESTED, start_command=command)
    vendor = OneMachine(pod, listed=None)
    vendor.capabilities = Capabilities(takes_args=takes_args, on_this_host=here)
    spawn(pod, vendor)
    assert pod.state == state
    assert ("create" in vendor.asked) is (state == "booting")
    assert state == "booting" or "clear the start command of the fleet" in pod.because


def test_a_list_that_fails_creates_nothing(redis_url: str, time: SteppedClock) -> None:
    pod = a_pod(state=REQUESTED)
    vendor = OneMachine(pod, fails={"list": Unavailable("x")})
    spawn(pod, vendor)
    assert (vendor.asked, pod.state, pod.note) == (
        *(["list"], "creating", "cannot look for its machine: x"),
    )


@pytest.mark.parametrize(("state", "after"), [(REQUESTED, "failed"), (CREATING, "creating")])
def test_an_account_that_cannot_be_used(time: SteppedClock, state: Any, after: str) -> None:
    fleet = a_fleet(accounts=[an_account("runpod", secret_ref="env:NOT_SET_ANYWHERE")])
    pod = a_pod(fleet, state)
    spawning.spawn_pod(pod.pk)
    pod.refresh_from_db()
    assert (pod.state, Account.objects.get().failures) == (after, 1)


@pytest.mark.parametrize("mine", [True, False])
def test_a_machine_that_another_row_has_is_not_taken(
    redis_url: str, time: SteppedClock, *, mine: bool
) -> None:
    pod = a_pod(state=REQUESTED)
    if not mine:
        a_pod(pod.fleet, BOOTING, external_id="machine-1")
    vendor = OneMachine(pod, listed=None)
    if mine:
        vendor.fails = {"create": Refused("no", billing_id="machine-2")}
        a_pod(pod.fleet, BOOTING, external_id="machine-2")
    spawn(pod, vendor)
    assert (pod.state, pod.retire_rule) == ("failed", PodRule.DUPLICATE_MACHINE.value)


def test_without_its_redis_user_no_pod_is_made(time: SteppedClock) -> None:
    pod = a_pod(state=REQUESTED, redis_url=NOWHERE)
    vendor = OneMachine(pod, listed=None)
    spawn(pod, vendor)
    assert (vendor.asked, pod.state) == (["list"], "creating")
    assert pod.note.startswith("cannot create the pod's Redis user")


def test_the_oldest_machine_with_the_pods_token_is_its_machine() -> None:
    pod = a_pod(state=CREATING)
    facts: dict[str, Any] = {"token": pod.client_token.hex, "name": "n", "phase": Phase.RUNNING}
    machines = [
        Machine(external_id="no time", **facts),
        Machine(external_id="younger", created_at=NOON, **facts),
        Machine(external_id="oldest", created_at=LONG_AGO, **facts),
        Machine(
            external_id="another's", created_at=LONG_AGO - seconds(1), **{**facts, "token": "x"}
        ),
    ]
    found = spawning.find_by_token(OneMachine(pod, listed=None, others=machines), pod)
    assert found is not None
    assert found.external_id == "oldest"
