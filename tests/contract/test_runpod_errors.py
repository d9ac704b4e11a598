"""What a caller may conclude from RunPod's answers: each row of its error table."""

import logging
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from pods.emulators.base import Reply
from pods.providers.base import OfferQuery, Provider
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unavailable,
)
from pods.providers.http import Timeouts
from pods.providers.runpod import provider
from tests.support.rigs.runpod_rig import ACTION, ENV, KEY, POD, PODS, TAG, Rig, a_spec, runpod

PROBLEM = "application/problem+json"
HTML = "<html><title>Access denied</title>error code: 1010</html>"
OFFER = "COMMUNITY:NVIDIA GeForce RTX 4090:1:EU-RO-1"
SECURE = OFFER.replace("COMMUNITY", "SECURE")
AN_ID = "7h9k2m4n6p"

CALLS: dict[str, Callable[[Provider], object]] = {
    "offers": lambda p: p.offers(OfferQuery()),
    "create": lambda p: p.create(a_spec("bb22", OFFER), token="bb22"),
    "status": lambda p: p.status(AN_ID),
    "list_tagged": lambda p: p.list_tagged(TAG),
    "stop": lambda p: p.stop(AN_ID),
    "start": lambda p: p.start(AN_ID),
    "destroy": lambda p: p.destroy(AN_ID),
    "logs": lambda p: p.logs(AN_ID),
}
READS = ("offers", "status", "list_tagged", "logs")
ACTS = ("stop", "start", "destroy")
ALL = tuple(CALLS)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


def problem(status: int, detail: str, **more: Any) -> Reply:
    body = {"title": "A problem", "status": status, "detail": detail, **more}
    return Reply(status=status, json=body, content_type=PROBLEM)


def html(status: int) -> Reply:
    return Reply(status=status, text=HTML, content_type="text/html; charset=UTF-8")


def v1(status: int) -> Reply:
    return Reply(status=status, json={"error": "pod not found to terminate", "status": status})


ROWS: list[tuple[str, Reply, tuple[str, ...], type[ProviderError]]] = [
    ("the key is bad", problem(401, "invalid bearer token"), ALL, AuthFailed),
    ("the key lacks the right", problem(403, "access denied"), (*READS, *ACTS), AuthFailed),
    ("the pool is closed to the account", problem(403, "access denied"), ("create",), NoCapacity),
    ("the proxy keeps us out", html(403), ALL, Unavailable),
    ("the proxy finds nobody", html(404), ALL, Unavailable),
    ("a rule is broken", problem(400, "mounts are mutually exclusive"), ("create",), Refused),
    ("the shape is wrong", problem(422, "Request validation failed."), ("create",), Refused),
    ("there is no money", problem(402, "insufficient balance"), ("create",), QuotaExceeded),
    (
        "the pod is unknown",
        problem(404, "pod not found"),
        ("status", "stop", "start", "logs"),
        NotFound,
    ),
    ("the template is unknown", problem(404, "template not found"), ("create",), Refused),
    ("too many requests", problem(429, "rate limit exceeded"), ALL, RateLimited),
    ("the server is ill", problem(500, "internal error"), ALL, Unavailable),
    ("the proxy is ill", html(502), ALL, Unavailable),
    ("the address is that of v1", v1(404), ALL, Refused),
    (
        "the host of a stopped pod is full, in the form of v1",
        Reply(status=400, json={"error": "not enough free GPUs on the host machine"}),
        ("create", "start"),
        NoCapacity,
    ),
    (
        "a machine cannot hold the pod, in the form of v1",
        Reply(
            status=400,
            json={
                "error": "create pod: This machine does not have the resources to deploy your pod"
            },
        ),
        ("create",),
        NoCapacity,
    ),
    ("the key is bad, in the form of v1", Reply(status=401, json={"error": "no"}), ALL, AuthFailed),
    (
        "there is no money, in the form of v1",
        Reply(status=402, json={"error": "no"}),
        ("create",),
        QuotaExceeded,
    ),
    (
        "a rule is broken, in the form of v1",
        Reply(status=400, json={"error": "no"}),
        ("create",),
        Refused,
    ),
    ("the API is retired", problem(410, "retired"), ALL, Refused),
    ("a status that nobody knows", problem(418, "teapot"), ALL, Refused),
]


@pytest.mark.parametrize(
    ("reply", "call", "error"),
    [
        pytest.param(reply, call, error, id=f"{name}: {call}")
        for name, reply, calls, error in ROWS
        for call in calls
    ],
)
def test_an_answer_is_sorted_by_what_the_caller_may_conclude(
    rig: Rig, reply: Reply, call: str, error: type[ProviderError]
) -> None:
    rig.server.faults.answer("", ".*", reply, times=100)
    with pytest.raises(error) as caught:
        CALLS[call](rig.provider)
    assert type(caught.value) is error


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "text",
    [
        "There are no longer any instances available with the requested specifications.",
        "No instances available",
        "There are not enough free GPUs on the host machine to start this pod.",
        "There is not ENOUGH DISK SPACE on the host",
    ],
)
def test_every_text_of_a_full_market_is_no_capacity(rig: Rig, text: str) -> None:
    rig.server.faults.answer("POST", PODS, problem(400, text))
    with pytest.raises(NoCapacity, match=r"(?i)instances|gpus|disk"):
        CALLS["create"](rig.provider)
    assert rig.made() == []


def test_a_refusal_names_each_field_that_was_wrong(rig: Rig) -> None:
    errors = ["$: additional properties 'gpuTypeIds' not allowed"]
    rig.server.faults.answer(
        "POST", PODS, problem(422, "Request validation failed.", errors=errors)
    )
    with pytest.raises(Refused, match="gpuTypeIds"):
        CALLS["create"](rig.provider)


def test_an_error_names_the_vendors_id_of_the_request(rig: Rig) -> None:
    with pytest.raises(NotFound) as caught:
        rig.provider.status(AN_ID)
    sent = rig.server.exchanges[-1].reply
    assert sent is not None
    assert sent.headers["x-request-id"] in str(caught.value)


def test_a_market_that_has_nothing_left_is_no_capacity(rig: Rig) -> None:
    offer = rig.offer(gpu_types=["RTX A5000"])
    for gpu in rig.state.catalog:
        gpu.stock = dict.fromkeys(gpu.stock, 0)
    with pytest.raises(NoCapacity):
        rig.provider.create(a_spec("aa11", offer.key), token="aa11")
    assert rig.made() == []


def test_a_data_center_without_the_gpu_is_no_capacity(rig: Rig) -> None:
    with pytest.raises(NoCapacity):
        rig.provider.create(a_spec("aa11", SECURE.replace("EU-RO-1", "US-KS-2")), token="aa11")


def test_a_balance_under_an_hour_is_a_used_up_quota(rig: Rig) -> None:
    rig.state.balance_usd = Decimal("0.10")
    with pytest.raises(QuotaExceeded):
        rig.create()
    assert rig.made() == []


def test_a_closed_pool_says_nothing_about_the_key(rig: Rig) -> None:
    rig.state.closed_pools.add("COMMUNITY")
    with pytest.raises(NoCapacity, match="access denied"):
        rig.provider.create(a_spec("aa11", OFFER), token="aa11")
    rig.provider.create(a_spec("bb22", SECURE), token="bb22")
    assert rig.made() == ["bb22"]


@pytest.mark.fault(49)
@pytest.mark.parametrize("call", ALL)
def test_a_revoked_key_is_refused_everywhere(rig: Rig, call: str) -> None:
    rig.emulator.keys = {"another"}
    with pytest.raises(AuthFailed):
        CALLS[call](rig.provider)


@pytest.mark.fault(49)
def test_a_destroy_that_the_key_may_not_do_is_not_a_success(rig: Rig) -> None:
    machine = rig.running()
    rig.emulator.denied.add("DELETE")
    with pytest.raises(AuthFailed):
        rig.provider.destroy(machine.external_id)
    assert rig.made() == [machine.token]


@pytest.mark.fault(35)
@pytest.mark.parametrize("reply", [html(404), v1(404), problem(410, "gone")])
def test_a_404_of_another_server_does_not_mean_that_the_pod_is_destroyed(
    rig: Rig, reply: Reply
) -> None:
    machine = rig.running()
    rig.server.faults.answer("DELETE", POD, reply, times=3)
    with pytest.raises((Unavailable, Refused)):
        rig.provider.destroy(machine.external_id)
    assert rig.made() == [machine.token]


@pytest.mark.fault(50)
def test_a_rate_limit_says_when_to_come_back(rig: Rig) -> None:
    rig.emulator.limits = {"minute": 3}
    rig.clock.advance(30.5)
    for _ in range(3):
        rig.provider.list_tagged(TAG)
    with pytest.raises(RateLimited, match="rate limited") as caught:
        rig.provider.list_tagged(TAG)
    assert caught.value.retry_after == 30
    rig.clock.advance(30)
    assert rig.provider.list_tagged(TAG) == []


@pytest.mark.fault(6)
def test_a_500_after_creating_is_unavailable_and_the_machine_is_found_by_its_token(
    rig: Rig,
) -> None:
    rig.server.faults.answer_after("POST", PODS, problem(500, "internal error"))
    with pytest.raises(Unavailable):
        rig.create("aa11")
    assert rig.server.calls("POST", PODS) == 1
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["aa11"]


@pytest.mark.fault(4)
def test_a_create_whose_answer_is_lost_is_sent_once_and_found_by_its_token(rig: Rig) -> None:
    rig.server.faults.lose_answer("POST", PODS)
    with pytest.raises(Unavailable):
        rig.create("aa11")
    assert rig.server.calls("POST", PODS) == 1
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["aa11"]


@pytest.mark.fault(5)
def test_a_create_that_never_arrived_leaves_nothing(rig: Rig) -> None:
    rig.server.faults.lose_request("POST", PODS)
    with pytest.raises(Unavailable):
        rig.create("aa11")
    assert rig.made() == []


@pytest.mark.fault(4)
def test_a_create_that_takes_too_long_is_unavailable_and_has_rented(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "CREATING", Timeouts(read=0.3, total=2))
    late = threading.Event()
    rig.server.faults.hold("POST", PODS, late)
    with pytest.raises(Unavailable, match="ReadTimeout"):
        rig.create("aa11")
    late.set()
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["aa11"]


def test_a_slow_create_is_waited_for(rig: Rig) -> None:
    late = threading.Event()
    rig.server.faults.hold("POST", PODS, late)
    threading.Timer(1.0, late.set).start()
    assert rig.create("aa11").token == "aa11"


@pytest.mark.parametrize(
    "body",
    [{}, [], None, {"id": ""}, {"id": 7, "name": "x"}, {"name": "x"}, {"id": "x", "name": None}],
)
def test_a_created_pod_that_cannot_be_read_may_exist(rig: Rig, body: Any) -> None:
    rig.server.faults.answer_after("POST", PODS, Reply(status=201, json=body))
    with pytest.raises(Unavailable):
        rig.create("aa11")
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["aa11"]


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "../x", "a b", "x?y=1", "%2e%2e", "x" * 200])
@pytest.mark.parametrize("call", ["status", "stop", "start", "destroy", "logs"])
def test_a_text_that_is_not_an_id_never_reaches_the_vendor(rig: Rig, bad: str, call: str) -> None:
    with pytest.raises(Refused, match="not a machine id"):
        getattr(rig.provider, call)(bad)
    assert rig.server.calls() == 0


def test_an_answer_about_another_pod_is_unavailable(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", POD, lambda pod: {**pod, "id": "another"})
    with pytest.raises(Unavailable, match="another"):
        rig.provider.status(machine.external_id)


SECRETS = (KEY, "s3cretpassword", ENV["PODFLEET_REDIS_URL"])


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("call", "status"),
    [
        (call, status)
        for call in ALL
        for status in (400, 401, 403, 404, 409, 422, 500)
        if (call, status) != ("destroy", 404)  # that one is a success
    ],
)
def test_neither_the_key_nor_the_environment_is_in_any_error_or_log(
    rig: Rig, call: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = problem(status, " ".join(SECRETS), errors=list(SECRETS), env=ENV)
    rig.server.faults.answer("", ".*", echo, times=100)
    with capture_logs() as events, pytest.raises(ProviderError) as caught:
        CALLS[call](rig.provider)
    shown = [caplog.text, str(events), repr(rig.provider)]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(vars(error))]
        error = error.__cause__ or error.__context__
    # Only a create knows the environment. There, parts of its values are hidden too.
    hidden = SECRETS if call == "create" else (KEY, ENV["PODFLEET_REDIS_URL"])
    assert not [secret for secret in hidden if secret in " ".join(shown)]


@pytest.mark.fault(68)
def test_a_list_that_cannot_be_read_shows_no_environment(rig: Rig) -> None:
    rig.create()

    def spoil(body: Any) -> Any:
        return {"pods": [{**body["pods"][0], "id": None}]}

    rig.server.faults.edit_json("GET", PODS, spoil)
    with pytest.raises(Unavailable) as caught:
        rig.provider.list_tagged(TAG)
    assert "s3cretpassword" not in repr(caught.value)


@pytest.mark.fault(35)
def test_a_destroy_that_fails_and_was_carried_out_succeeds_at_the_second_try(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.answer_after("DELETE", POD, problem(500, "internal error"))
    rig.provider.destroy(machine.external_id)
    assert rig.made() == []


def test_an_action_that_conflicts_succeeds_where_the_pod_is_as_wished(rig: Rig) -> None:
    machine = rig.running()
    rig.provider.start(machine.external_id)
    rig.provider.stop(machine.external_id)
    rig.provider.stop(machine.external_id)
    assert rig.server.calls("POST", ACTION) == 3


def test_an_action_that_conflicts_otherwise_is_refused(rig: Rig) -> None:
    machine = rig.running()
    rig.state.fail(machine.external_id)
    with pytest.raises(Refused, match="409"):
        rig.provider.stop(machine.external_id)
