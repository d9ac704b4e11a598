"""The calls of Vast.ai's API: each condition in the case in which it alone decides."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina

from pods.providers.base import OfferQuery, Phase, PodSpec, Provider, RegistryLogin
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.vastai import connect, logs, wire
from tests.support.from_memory import answer_from_memory, answered

Plan = dict[str, list[tuple[int, Any]]]
Vendor = Callable[..., tuple[Provider, list[httpx.Request]]]

ASK = "PUT /api/v0/asks/7/"
CREDIT = "GET /api/v0/users/current/"
LIST = "GET /api/v1/instances/"
ONE = "GET /api/v0/instances/5/"
STATE = "PUT /api/v0/instances/5/"
SEARCH = "POST /api/v0/bundles/"
SPEC = PodSpec(name="pf-7-ab", tag="pf-7", offer_key="7", image="r.example/w:1")


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """An account, and its requests. The plan says what they are answered."""

    def make(plan: Plan, **options: Any) -> tuple[Provider, list[httpx.Request]]:
        asked = answer_from_memory(monkeypatch, answered(plan))
        return connect(options=options, secret="a-key"), asked

    with stamina.set_testing(True, attempts=2):
        yield make


def test_an_offer_of_another_vendors_data_center_is_not_searched_for(vendor: Vendor) -> None:
    vastai, asked = vendor({SEARCH: [(200, {"offers": ["odd"]})]})
    assert vastai.offers(OfferQuery(regions=["EU-RO-1", "US-KS-2"])) == ()
    assert asked == []
    assert not vastai.offers(OfferQuery(regions=["EU-RO-1", "CA"], interruptible=False))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "error", "billing_id"),
    [
        (200, {"success": True}, Unavailable, None),
        (200, {"success": True, "new_contract": "5"}, Unavailable, None),
        (200, [5], Unavailable, None),
        (200, None, Unavailable, None),
        (200, {"success": False, "error": "odd"}, Refused, None),
        (200, {"success": False, "error": "odd", "new_contract": 5}, Refused, "5"),
        (400, {"error": "odd", "new_contract": 5}, Refused, "5"),
        (410, {"error": "no_such_ask", "new_contract": 5}, Refused, "5"),
        (200, "insufficient_credit", Unavailable, None),
        (410, {"error": "no_such_ask"}, NoCapacity, None),
        (404, {"error": "not_found"}, NoCapacity, None),
        (400, ["odd"], Unavailable, None),
    ],
)
def test_a_create_ends_as_its_answer_says(
    vendor: Vendor, status: int, body: Any, error: type[ProviderError], billing_id: str | None
) -> None:
    vastai, asked = vendor({ASK: [(status, body)]})
    with pytest.raises(error) as caught:
        vastai.create(SPEC, token="ab")
    assert type(caught.value) is error
    assert getattr(caught.value, "billing_id", None) == billing_id
    assert len(asked) == 1


@pytest.mark.parametrize("body", [{"success": True, "new_contract": 5}, {"new_contract": 5}])
def test_a_success_names_the_machine(vendor: Vendor, body: Any) -> None:
    vastai, _ = vendor({ASK: [(200, body)]})
    made = vastai.create(SPEC, token="ab")
    assert (made.external_id, made.phase, made.interruptible) == ("5", Phase.BOOTING, False)
    bid = replace(SPEC, offer_key="7@0.222", interruptible=True)
    assert vastai.create(bid, token="ab").interruptible


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, name="pf-7-cd"),
        replace(SPEC, interruptible=True),
        replace(SPEC, offer_key="7@0.222"),
    ],
    ids=["a label without the token", "no bid", "a bid"],
)
def test_what_would_rent_something_else_is_not_sent(vendor: Vendor, spec: PodSpec) -> None:
    vastai, asked = vendor({})
    with pytest.raises(Refused):
        vastai.create(spec, token="ab")
    assert asked == []


@pytest.mark.parametrize(
    ("status", "user", "error"),
    [
        (200, {"credit": "0.99"}, QuotaExceeded),
        (200, {"credit": 1}, Refused),
        (200, {"balance": 0}, QuotaExceeded),
        (200, {}, Refused),
        (500, {}, Refused),
        (401, {"error": "auth_error"}, Refused),
    ],
)
def test_a_refusal_about_money_is_believed_where_little_is_left(
    vendor: Vendor, status: int, user: Any, error: type[ProviderError]
) -> None:
    refused = {"error": "x", "msg": "Your credit does not suffice"}
    vastai, _ = vendor({ASK: [(400, refused)], CREDIT: [(status, user)]})
    with pytest.raises(error) as caught:
        vastai.create(SPEC, token="ab")
    assert type(caught.value) is error


def test_no_message_about_a_create_has_the_password_of_a_login(vendor: Vendor) -> None:
    login = RegistryLogin(host="ghcr.io", user="ann", password="to-read-images")
    echo = {"error": "odd", "msg": "no login to-read-images with s3cr3t-value"}
    vastai, _ = vendor({ASK: [(400, echo)]})
    spec = replace(SPEC, registry_login=login, env={"N": "s3cr3t-value"})
    with pytest.raises(Refused, match=r"no login \*\*\* with \*\*\*"):
        vastai.create(spec, token="ab")


def test_credit_counts_before_the_balance(vendor: Vendor) -> None:
    users = [{"credit": 3, "balance": -1}, {"credit": 0, "balance": 5}, {"balance": -1}, {}]
    vastai, _ = vendor({CREDIT: [(200, user) for user in users]})
    assert [vastai.balance() for _ in users] == [3, 0, -1, None]


def page(*ids: object, total: object = None, token: object = None) -> tuple[int, Any]:
    rows = [{"id": number, "label": f"pf-7-t{number}"} for number in ids]
    body = {"instances": rows, "total_instances": len(ids) if total is None else total}
    return 200, body if token is None else {**body, "next_token": token}


def listed(vastai: Provider) -> list[str]:
    return [machine.token for machine in vastai.list_tagged("pf-7")]


def test_a_list_is_read_page_by_page_until_its_number_is_right(vendor: Vendor) -> None:
    vastai, asked = vendor({LIST: [page(1, total=2, token="a"), page(2, total=2, token="")]})
    assert listed(vastai) == ["t1", "t2"]
    assert [request.url.params.get("after_token") for request in asked] == [None, "a"]
    short = page(1, total=2)
    vastai, asked = vendor({LIST: [short, short, page(1, 2)]})
    assert listed(vastai) == ["t1", "t2"]
    vastai, asked = vendor({LIST: [short]})
    with pytest.raises(Unavailable, match="listed 1 instances and says that there are 2"):
        listed(vastai)
    assert len(asked) == wire.READINGS
    assert vastai.name == "vastai"


def test_a_list_has_the_machines_of_its_tag_alone(vendor: Vendor) -> None:
    rows = [{"id": 1, "label": "pf-7-t1"}, {"id": 2, "label": "pf-70-t2"}, {"id": 3}]
    vastai, _ = vendor({LIST: [(200, {"instances": rows, "total_instances": 3})]})
    assert listed(vastai) == ["t1"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, {"instances": None, "total_instances": 0}), "without its instances or their number"),
        ((200, {"instances": [], "total_instances": False}), "without its instances or their"),
        ((200, {"instances": [], "total_instances": "0"}), "without its instances or their number"),
        (page(1, "2"), "something that has no id"),
        ((200, {"instances": ["x"], "total_instances": 1}), "something that has no id"),
        (page(1, token="same"), "a next page that cannot be asked for"),
        ((200, {"success": False, "instances": [], "total_instances": 0}), "Vast.ai answered 200"),
        ((200, []), "Vast.ai answered 200"),
    ],
)
def test_a_list_that_may_lack_machines_is_an_error(
    vendor: Vendor, answer: tuple[int, Any], says: str
) -> None:
    with pytest.raises(Unavailable, match=says):
        listed(vendor({LIST: [answer]})[0])


def test_a_next_page_that_is_not_a_text_is_not_asked_for(vendor: Vendor) -> None:
    vastai, asked = vendor({LIST: [page(1, token=7)]})
    with pytest.raises(Unavailable, match="a next page that cannot be asked for"):
        listed(vastai)
    assert len(asked) == 1


def test_a_list_whose_pages_never_end_is_given_up(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST_PAGES", 2)
    vastai, asked = vendor({LIST: [page(n, token=f"t{n}") for n in range(1, 9)]})
    with pytest.raises(Unavailable, match="does not end after 2 pages"):
        listed(vastai)
    assert len(asked) == 2


@pytest.mark.parametrize("found", [None, {}, []])
def test_an_instance_that_is_not_shown_is_not_found(vendor: Vendor, found: object) -> None:
    with pytest.raises(NotFound, match="shows no instance 5"):
        vendor({ONE: [(200, {"instances": found})]})[0].status("5")


@pytest.mark.parametrize(
    "body",
    [{}, {"instances": 0}, {"instances": ""}, {"instances": False}, {"instances": [7, {"id": 6}]}],
)
def test_an_answer_without_the_instance_does_not_say_that_it_is_gone(
    vendor: Vendor, body: object
) -> None:
    with pytest.raises(Unavailable):
        vendor({ONE: [(200, body)]})[0].status("5")


@pytest.mark.parametrize("found", [{"id": 5}, [7, {"id": 6}, {"id": 5}]])
def test_an_instance_is_found_alone_and_in_a_list(vendor: Vendor, found: object) -> None:
    assert vendor({ONE: [(200, {"instances": found})]})[0].status("5").external_id == "5"


GONE = (404, {"error": "no_such_instance"})
FUNDS = (400, {"error": "insufficient_credit"})
QUEUED = (200, {"success": False, "msg": "state change queued"})
FINE = (200, {"success": True})


@pytest.mark.parametrize(
    ("answers", "error", "requests"),
    [
        ([FINE], None, 1),
        ([GONE], NotFound, 1),
        ([(403, {"error": "auth_error"})], AuthFailed, 1),
        ([QUEUED, FINE], NoCapacity, 2),
        ([(200, {"success": False, "error": "no_such_instance"})], NotFound, 1),
        ([(200, {"success": False, "error": "auth_error"})], AuthFailed, 1),
        ([(200, {"success": False, "msg": "odd"}), FINE], NoCapacity, 2),
        ([(200, {"success": False, **FUNDS[1]}), FINE], QuotaExceeded, 2),
        ([QUEUED, GONE], NotFound, 2),
        ([QUEUED, (400, {"error": "odd"})], Unavailable, 2),
        ([(200, ["odd"])], Unavailable, 1),
        ([FUNDS], QuotaExceeded, 1),
        ([(400, {"success": False, "error": "odd"})], Refused, 1),
    ],
)
def test_a_start_that_is_queued_is_taken_back(
    vendor: Vendor, answers: list[tuple[int, Any]], error: type[ProviderError] | None, requests: int
) -> None:
    vastai, asked = vendor({STATE: answers})
    if error is None:
        vastai.start("5")
    else:
        with pytest.raises(error) as caught:
            vastai.start("5")
        assert type(caught.value) is error
    states = [json.loads(request.content)["state"] for request in asked]
    assert states == ["running", "stopped"][:requests]


LOGS = "PUT /api/v0/instances/request_logs/5/"
PLACE = {"result_url": "https://s3.example/log?sig=a%2Fb&empty="}


def test_a_log_is_fetched_as_soon_as_it_is_there_and_without_the_key(vendor: Vendor) -> None:
    late = {"GET /log": [(403, None), (200, b"one\ntwo a-key\nthree\n")]}
    vastai, asked = vendor({LOGS: [(200, PLACE)], **late})
    assert vastai.logs("5", tail=2) == "two ***\nthree"
    assert len(asked) == 3
    assert asked[-1].url.params["sig"] == "a/b"
    assert asked[-1].url.params["empty"] == ""
    assert "authorization" not in asked[-1].headers
    vastai, _ = vendor({LOGS: [(200, PLACE)], "GET /log": [(404, None)]})
    with pytest.raises(Unavailable, match="its storage answers 404"):
        vastai.logs("5")


@pytest.mark.parametrize("body", [{}, {"result_url": None}])
def test_a_log_without_a_place_is_not_there_yet(vendor: Vendor, body: object) -> None:
    with pytest.raises(Unavailable, match=r"Vast\.ai answered 200: nothing"):
        vendor({LOGS: [(200, body)]})[0].logs("5")


@pytest.mark.parametrize(
    "url",
    [
        *("https://u@s3.example/log", "https:///log", "https://localhost/log", "https://[::1]/log"),
        *("https://127.0.0.1/log", "https://10.0.0.1/log", "https://s3.internal/log"),
        *("https://s3.local/log", "https://s3.localhost/log", "https://redis/log"),
    ],
)
def test_no_log_is_fetched_from_inside_a_network(url: str) -> None:
    with pytest.raises(Unavailable, match=r"Vast\.ai named a log at an address"):
        logs.checked(url, loopback=False)


@pytest.mark.parametrize("url", ["https://10.0.0.1/log", "http://s3.example/log", "https://u@h.x/"])
def test_an_emulators_log_is_fetched_from_this_machine_or_from_outside(url: str) -> None:
    with pytest.raises(Unavailable, match=r"Vast\.ai named a log at an address"):
        logs.checked(url, loopback=True)


@pytest.mark.parametrize("url", ["https://s3.example/log", "https://8.8.8.8/log"])
def test_a_log_may_be_fetched_from_outside(url: str) -> None:
    assert logs.checked(url, loopback=False).path == "/log"
    assert logs.checked(url, loopback=True).path == "/log"


def test_only_an_emulators_account_fetches_logs_from_this_machine(vendor: Vendor) -> None:
    here = {LOGS: [(200, {"result_url": "http://127.0.0.1:1/log"})], "GET /log": [(200, b"one")]}
    assert vendor(here, base_url="http://localhost:1")[0].logs("5") == "one"
    with pytest.raises(Unavailable, match="not a plain https URL"):
        vendor(here)[0].logs("5")


def test_a_destroy_of_what_is_gone_is_a_success_and_of_nothing_else(vendor: Vendor) -> None:
    destroy = "DELETE /api/v0/instances/5/"
    vendor({destroy: [GONE]})[0].destroy("5")
    vendor({destroy: [FINE]})[0].destroy("5")
    for answer, error in (((404, {}), Unavailable), ((400, {"error": "odd"}), Refused)):
        with pytest.raises(error):
            vendor({destroy: [answer]})[0].destroy("5")


def test_an_id_of_another_vendor_is_never_sent(vendor: Vendor) -> None:
    vastai, asked = vendor({})
    for bad in ("", "0", "5/", "x5", "٥"):
        with pytest.raises(Refused, match=r"is not an id of Vast\.ai"):
            vastai.destroy(bad)
    assert asked == []


def test_no_price_of_an_account_is_a_price(vendor: Vendor) -> None:
    assert vendor({CREDIT: [(200, {"credit": True})]})[0].balance() is None
    assert vendor({CREDIT: [(200, {"credit": 0.5})]})[0].balance() == Decimal("0.5")
