"""An account at Vast.ai: its key, its options, its balance, and the logs of its machines."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply, Request
from pods.emulators.vastai import LOG_STORE
from pods.providers import vastai
from pods.providers.base import Provider
from pods.providers.errors import AuthFailed, NotFound, Refused, Unavailable
from pods.providers.vastai import logs
from pods.providers.vastai.options import Options
from tests.support.rigs.vastai_rig import KEY, ON_DEMAND, TAG, Rig, a_spec, vast

LOGS = r"/api/v0/instances/request_logs/\d+/"
USER = "/api/v0/users/current/"
STORED = rf"{LOG_STORE}/.*"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast() as rig:
        yield rig


# Keys.

METHODS: dict[str, Callable[[Provider, Any], object]] = {
    "offers": lambda p, _: p.offers(ON_DEMAND),
    "create": lambda p, offer: p.create(a_spec("t1", offer), token="t1"),
    "status": lambda p, _: p.status("31245678"),
    "list_tagged": lambda p, _: p.list_tagged(TAG),
    "stop": lambda p, _: p.stop("31245678"),
    "start": lambda p, _: p.start("31245678"),
    "destroy": lambda p, _: p.destroy("31245678"),
    "logs": lambda p, _: p.logs("31245678"),
    "balance": lambda p, _: p.balance(),
}


@pytest.mark.fault(49)
@pytest.mark.parametrize("status", [404, 401, 403])
@pytest.mark.parametrize("method", METHODS)
def test_a_bad_key_is_reported_on_every_route(rig: Rig, method: str, status: int) -> None:
    offer = rig.offer()
    rig.emulator.keys = {"another"}
    rig.emulator.quirks.bad_key_status = status
    with pytest.raises(AuthFailed):
        METHODS[method](rig.provider, offer)


@pytest.mark.parametrize("method", METHODS)
def test_an_expired_session_in_plain_text_is_a_bad_key(rig: Rig, method: str) -> None:
    offer = rig.offer()
    text = Reply(status=404, text="Session expired. Please log in again.")
    rig.server.faults.answer("", r"/api/.*", text, times=9)
    with pytest.raises(AuthFailed):
        METHODS[method](rig.provider, offer)


@pytest.mark.parametrize("method", METHODS)
def test_a_vendor_that_is_down_is_unavailable_on_every_route(rig: Rig, method: str) -> None:
    offer = rig.offer()
    rig.server.faults.lose_request("", r"/api/.*", times=99)
    with pytest.raises(Unavailable):
        METHODS[method](rig.provider, offer)


def test_the_key_of_a_machine_ends_that_machine_and_no_other(rig: Rig) -> None:
    one, other = rig.running("t1"), rig.running("t2")
    own = rig.connect(key=rig.contract(one).key)
    for forbidden in (
        lambda: own.destroy(other.external_id),
        lambda: own.list_tagged(TAG),
        lambda: own.create(a_spec("t3", rig.offer()), token="t3"),
    ):
        with pytest.raises(AuthFailed):
            forbidden()
    own.destroy(one.external_id)
    assert rig.emulator.market.contracts[int(one.external_id)].current == "unloaded"
    assert rig.contract(other).actual == "running"


def test_every_request_names_us_and_carries_the_key_in_its_header_only(rig: Rig) -> None:
    machine = rig.running()
    rig.provider.logs(machine.external_id)
    rig.provider.destroy(machine.external_id)
    calls = [e.request for e in rig.server.exchanges if e.request.path.startswith("/api/")]
    assert {r.headers["authorization"] for r in calls} == {f"Bearer {KEY}"}
    assert all(r.headers["user-agent"].startswith("podfleet") for r in calls)
    assert not [r for r in calls if KEY in r.target or KEY in r.raw.decode()]


# Options.


def test_an_account_needs_no_option() -> None:
    assert vastai.connect(options={}, secret=KEY).name == "vastai"


def test_a_margin_of_zero_is_zero_and_none_is_the_usual_one() -> None:
    assert Options.parse({"bid_margin": 0}).bid_margin == 0
    assert Options.parse({"bid_margin": None}).bid_margin == Decimal("0.1")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_ulr": "https://x.example"}, "base_ulr"),
        ({"base_url": "http://console.vast.ai"}, "https"),
        ({"base_url": "console.vast.ai"}, "base_url"),
        ({"base_url": "https://u:p@console.vast.ai"}, "base_url"),
        ({"verified": "yes"}, "verified"),
        ({"min_cuda": "twelve"}, "min_cuda"),
        ({"min_cuda": -1}, "min_cuda"),
        ({"bid_margin": -0.1}, "bid_margin"),
        ({"bid_margin": "NaN"}, "bid_margin"),
        ({"search_pages": 0}, "search_pages"),
        ({"search_pages": 1.5}, "search_pages"),
        ({"search_pages": True}, "search_pages"),
        ({"search_pages": 11}, "search_pages"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        vastai.connect(options=options, secret=KEY)


@pytest.mark.parametrize("secret", [None, "", "two words", "line\nbreak"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(secret: str | None) -> None:
    with pytest.raises(ValueError) as raised:
        vastai.connect(options={}, secret=secret)
    assert "key" in str(raised.value)
    assert not secret or secret not in str(raised.value)


def test_the_options_reach_the_search(rig: Rig) -> None:
    options: dict[str, Any] = {"verified": False, "min_cuda": "12.9", "bid_margin": 0.5}
    rig.emulator.market.add_slot(usd="0.1", verification="unverified", cuda=13.0)
    assert [o.hourly_usd < Decimal("0.2") for o in rig.connect(**options).offers(ON_DEMAND)] == [
        True
    ]


# Balance.


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"credit": 41.27, "balance": -3.0}, Decimal("41.27")),
        ({"credit": 0, "balance": 7}, Decimal(0)),
        ({"credit": None, "balance": 7.5}, Decimal("7.5")),
        ({"balance": -0.5}, Decimal("-0.5")),
        ({"credit": "41.27"}, Decimal("41.27")),
        ({"credit": "lots"}, None),
        ({}, None),
    ],
)
def test_credit_counts_before_balance_and_unknown_is_not_zero(
    rig: Rig, body: dict[str, Any], left: Decimal | None
) -> None:
    rig.server.faults.answer("GET", USER, Reply(json=body))
    assert rig.provider.balance() == left


def test_the_balance_falls_as_the_vendor_bills(rig: Rig) -> None:
    before = rig.provider.balance()
    rig.running()
    rig.clock.advance(3600)
    after = rig.provider.balance()
    assert before is not None
    assert after is not None
    spent = rig.emulator.market.bill.grand_total(now=rig.clock.now)
    assert before - after == pytest.approx(spent, rel=Decimal("1e-9"))


# Logs.


def test_a_log_is_fetched_as_soon_as_its_storage_has_it(rig: Rig) -> None:
    rig.emulator.quirks.log_refusals = 5
    machine = rig.running()
    text = rig.provider.logs(machine.external_id, tail=1)
    assert text == f"container {machine.external_id} says hello"
    assert rig.server.calls("GET", STORED) == 6
    assert rig.emulator.leaked == []


def test_a_log_that_never_comes_is_unavailable(rig: Rig) -> None:
    rig.emulator.quirks.log_refusals = 999
    machine = rig.running()
    with pytest.raises(Unavailable):
        rig.provider.logs(machine.external_id)
    assert rig.server.calls("GET", STORED) == logs.TRIES


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, json={"error": "invalid_id", "msg": "Invalid instance id."}),
        Reply(status=403, json={"error": "not_authorized", "msg": "Not authorized to view logs"}),
    ],
)
def test_logs_of_a_machine_that_is_not_ours_any_more_are_not_found(rig: Rig, reply: Reply) -> None:
    rig.server.faults.answer("PUT", LOGS, reply)
    with pytest.raises(NotFound):
        rig.provider.logs("31245678")


@pytest.mark.parametrize("body", [{}, {"success": True}, {"success": True, "result_url": None}])
def test_logs_without_an_address_are_unavailable(rig: Rig, body: dict[str, Any]) -> None:
    rig.server.faults.answer("PUT", LOGS, Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.logs("31245678")


INSIDE = [
    "http://logs.example/a.log",
    "ftp://logs.example/a.log",
    "file:///etc/passwd",
    "https://u:p@logs.example/a.log",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.7/a.log",
    "https://[::1]/a.log",
    "https://[fd00::1]/a.log",
    "https://localhost/a.log",
    "https://redis/a.log",
    "https://vault.internal/a.log",
    "https:///a.log",
    "//logs.example/a.log",
    "",
]


@pytest.mark.fault(65)
@pytest.mark.parametrize("url", [*INSIDE, "http://127.0.0.1:1/a.log"])
def test_a_log_is_never_fetched_from_inside_our_network(url: str) -> None:
    with pytest.raises(Unavailable):
        logs.checked(url, loopback=False)


@pytest.mark.fault(65)
@pytest.mark.parametrize("url", [u for u in INSIDE if "localhost" not in u and "::1" not in u])
def test_an_emulator_may_name_this_machine_and_nothing_else_of_the_network(url: str) -> None:
    with pytest.raises(Unavailable):
        logs.checked(url, loopback=True)
    assert logs.checked("http://127.0.0.1:8080/a.log", loopback=True).port == 8080


def test_a_log_on_the_vendors_storage_may_be_fetched() -> None:
    url = "https://s3.amazonaws.com/vast.ai/instance_logs/abc.log?X=1"
    assert logs.checked(url, loopback=False).query == "X=1"


@pytest.mark.fault(68)
def test_a_log_holds_neither_control_characters_nor_the_key(rig: Rig) -> None:
    machine = rig.running()
    nasty = f"one\ntwo \x1b[31mred\x07 {KEY} Bearer abcdef0123\nthree"
    rig.server.faults.answer("GET", STORED, Reply(text=nasty, content_type="text/plain"))
    text = rig.provider.logs(machine.external_id)
    assert text.splitlines()[::2] == ["one", "three"]
    assert "\x1b" not in text
    assert KEY not in text
    assert "abcdef0123" not in text


def test_a_storage_that_redirects_is_not_followed(rig: Rig) -> None:
    machine = rig.running()
    away = Reply(status=302, text="", headers={"Location": f"{rig.server.url}{USER}"})
    rig.server.faults.answer("GET", STORED, away, times=99)
    with pytest.raises(Unavailable):
        rig.provider.logs(machine.external_id)
    assert rig.server.calls("GET", USER) == 0


# Checks of the emulator itself.


def test_the_emulator_knows_no_write_path_without_its_slash(rig: Rig) -> None:
    request = Request(
        method="DELETE",
        path="/api/v0/instances/7",
        query={},
        headers={"authorization": "Bearer x"},
    )
    assert rig.emulator.answer(request).status == 404


def test_an_id_of_another_vendor_is_refused(rig: Rig) -> None:
    with pytest.raises(Refused):
        rig.provider.status("pod-abc")
