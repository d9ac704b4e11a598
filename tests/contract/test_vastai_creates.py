"""Searches and creates at Vast.ai, and what a failed create leaves behind."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.providers.base import OfferQuery, Phase
from pods.providers.errors import (
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unavailable,
)
from tests.support.rigs.vastai_rig import A_WHILE, BIDS, KEY, ON_DEMAND, TAG, Rig, a_spec, vast

ASK = r"/api/v0/asks/\d+/"
SEARCH = "/api/v0/bundles/"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast() as rig:
        yield rig


def made(rig: Rig) -> list[str]:
    """The tokens of the machines that exist at the vendor."""
    return [c.label.rpartition("-")[2] for c in rig.emulator.market.contracts.values()]


# Offers.


def test_more_offers_than_a_search_returns_are_found_page_by_page() -> None:
    with vast(slots=150) as rig:
        assert len(rig.connect(search_pages=1).offers(ON_DEMAND)) == 64
        offers = rig.connect(search_pages=3).offers(ON_DEMAND)
        assert len({o.key for o in offers}) == len(offers) == 150
        assert list(offers) == sorted(offers, key=lambda o: o.hourly_usd)


def test_a_whole_page_at_one_price_does_not_hide_what_is_dearer() -> None:
    with vast(slots=0) as rig:
        for usd in ["0.3"] * 70 + ["0.4"] * 5:
            rig.emulator.market.add_slot(usd=usd)
        offers = rig.connect(search_pages=4).offers(ON_DEMAND)
        assert sum(o.hourly_usd > Decimal("0.4") for o in offers) == 5


def test_a_search_is_not_repeated_where_one_page_holds_everything(rig: Rig) -> None:
    rig.provider.offers(ON_DEMAND)
    assert rig.server.calls("POST", SEARCH) == 1


@pytest.mark.parametrize(
    ("ignored", "query"),
    [
        ("gpu_name", OfferQuery(gpu_types=["H100 SXM"], interruptible=False)),
        ("num_gpus", OfferQuery(gpu_count=8, interruptible=False)),
        ("gpu_ram", OfferQuery(min_vram_gb=80, interruptible=False)),
        ("geolocation", OfferQuery(regions=["US"], interruptible=False)),
        ("dph_total", OfferQuery(max_hourly_usd=Decimal("0.01"), interruptible=False)),
        ("reliability2", OfferQuery(min_reliability=0.9999, interruptible=False)),
    ],
)
def test_an_offer_that_breaks_a_filter_is_dropped(
    rig: Rig, ignored: str, query: OfferQuery
) -> None:
    rig.emulator.quirks.ignored_filters.add(ignored)
    assert not rig.provider.offers(query)


def test_both_kinds_of_offers_are_found_where_the_fleet_takes_both(rig: Rig) -> None:
    kinds = [o.interruptible for o in rig.provider.offers(OfferQuery())]
    assert kinds.count(True) == kinds.count(False) == 3


def test_a_used_up_search_quota_is_waited_for_until_midnight_and_not_asked_again(
    rig: Rig,
) -> None:
    rig.emulator.quirks.search_quota = 1
    rig.provider.offers(ON_DEMAND)
    with pytest.raises(RateLimited) as raised:
        rig.provider.offers(ON_DEMAND)
    assert raised.value.retry_after is not None
    assert rig.server.calls("POST", SEARCH) == 2
    rig.clock.advance(12 * 3600)
    assert rig.provider.offers(ON_DEMAND)


@pytest.mark.parametrize("body", [{}, {"offers": None}, {"offers": {"id": 7}}, [], None])
def test_a_search_without_its_list_of_offers_is_an_error_and_not_an_empty_market(
    rig: Rig, body: Any
) -> None:
    rig.server.faults.answer("POST", SEARCH, Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.offers(ON_DEMAND)


def test_an_offer_that_cannot_be_read_does_not_hide_the_others(rig: Rig) -> None:
    def spoil(body: Any) -> Any:
        return {"offers": [{"id": "x"}, 7, {"ask_contract_id": 5}, *body["offers"]]}

    rig.server.faults.edit_json("POST", SEARCH, spoil)
    assert len(rig.provider.offers(ON_DEMAND)) == 3


# No capacity.


@pytest.mark.parametrize("shape", ["404", "410", "400"])
def test_an_offer_that_is_gone_at_the_accept_is_no_capacity(rig: Rig, shape: str) -> None:
    rig.emulator.quirks.no_such_ask = shape
    with pytest.raises(NoCapacity):
        rig.create()
    assert made(rig) == []


def test_an_offer_serves_once(rig: Rig) -> None:
    offer = rig.offer()
    rig.create("t1", offer=offer)
    with pytest.raises(NoCapacity):
        rig.create("t2", offer=offer)
    assert made(rig) == ["t1"]


def test_a_gpu_that_another_took_since_the_search_is_no_capacity_and_leaves_nothing(
    rig: Rig,
) -> None:
    rig.emulator.quirks.shows_taken_offers = True
    rig.emulator.market.rival_rents(rig.emulator.market.slots[0])
    with pytest.raises(NoCapacity):
        rig.create()
    assert made(rig) == []


# Refusals.


@pytest.mark.fault(7)
def test_a_refusal_that_made_a_contract_names_it_so_that_it_can_be_destroyed(rig: Rig) -> None:
    rig.emulator.quirks.errors_create = 1
    with pytest.raises(Refused) as raised:
        rig.create()
    assert raised.value.billing_id is not None
    assert rig.provider.status(raised.value.billing_id).phase in {Phase.STOPPING, Phase.STOPPED}
    rig.provider.destroy(raised.value.billing_id)
    rig.clock.advance(A_WHILE)
    assert rig.provider.list_tagged(TAG) == []


@pytest.mark.fault(7)
@pytest.mark.parametrize("status", [200, 400, 403, 404, 410])
def test_a_contract_beside_an_error_is_named_whatever_the_status(rig: Rig, status: int) -> None:
    body = {"success": False, "error": "no_such_ask", "msg": "auth_error?", "new_contract": 77}
    rig.server.faults.answer("PUT", ASK, Reply(status=status, json=body))
    with pytest.raises(Refused) as raised:
        rig.create()
    assert raised.value.billing_id == "77"


def test_a_bid_that_was_overtaken_leaves_a_stopped_contract_that_is_named(rig: Rig) -> None:
    offer = rig.offer(BIDS)
    rig.emulator.market.rival_bids(rig.emulator.market.slots[0], Decimal(1))
    with pytest.raises(Refused) as raised:
        rig.create(offer=offer)
    assert raised.value.billing_id is not None
    assert rig.provider.status(raised.value.billing_id).phase is Phase.STOPPED


def test_success_false_with_a_200_is_a_refusal(rig: Rig) -> None:
    rig.emulator.quirks.create_says_no = "not today"
    with pytest.raises(Refused, match="not today") as raised:
        rig.create()
    assert raised.value.billing_id is None
    rig.emulator.quirks.create_says_no = "no_such_ask"
    with pytest.raises(NoCapacity):
        rig.create()


# Money.


def test_a_create_without_credit_is_a_used_up_quota(rig: Rig) -> None:
    rig.emulator.quirks.unfunded = "insufficient_credit"
    with pytest.raises(QuotaExceeded):
        rig.create()


def test_an_account_without_money_rents_nothing_more() -> None:
    with vast(credit=Decimal("0.01")) as rig:
        rig.running("t1")
        rig.clock.advance(3600)
        with pytest.raises(QuotaExceeded):
            rig.create("t2")
        assert rig.provider.list_tagged(TAG)[0].phase is Phase.STOPPED


@pytest.mark.parametrize(("credit", "error"), [("0.5", QuotaExceeded), ("50", Refused)])
def test_a_text_about_credit_is_believed_when_the_balance_is_low(
    credit: str, error: type[ProviderError]
) -> None:
    said = {"success": False, "error": "invalid_args", "msg": "your credit does not suffice"}
    with vast(credit=Decimal(credit)) as rig:
        rig.server.faults.answer("PUT", ASK, Reply(status=400, json=said))
        with pytest.raises(ProviderError) as raised:
            rig.create()
        assert type(raised.value) is error


def test_a_text_about_credit_is_a_refusal_when_the_balance_cannot_be_read(rig: Rig) -> None:
    said = {"success": False, "error": "x", "msg": "insufficient"}
    rig.server.faults.answer("PUT", ASK, Reply(status=400, json=said))
    rig.server.faults.answer("GET", "/api/v0/users/current/", Reply(status=500), times=9)
    with pytest.raises(Refused):
        rig.create()


# Answers from which nothing can be concluded.


@pytest.mark.fault(4)
@pytest.mark.parametrize("status", [None, 500, 502, 503, 504])
def test_a_create_whose_answer_was_lost_is_never_repeated_and_found_by_its_token(
    rig: Rig, status: int | None
) -> None:
    if status is None:
        rig.server.faults.lose_answer("PUT", ASK)
    else:
        html = Reply(status=status, text="<html>bad gateway</html>", content_type="text/html")
        rig.server.faults.answer_after("PUT", ASK, html)
    with pytest.raises(Unavailable):
        rig.create("t1")
    assert rig.server.calls("PUT", ASK) == 1
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["t1"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(json={"success": True}),
        Reply(json={"success": True, "new_contract": None}),
        Reply(json={"success": True, "new_contract": "31245678"}),
        Reply(json=[]),
        Reply(text="OK", content_type="text/plain"),
        Reply(text="", content_type="text/plain"),
        Reply(status=404, text="<html>Not Found</html>", content_type="text/html"),
        Reply(status=308, text="", headers={"Location": "https://elsewhere.example/"}),
    ],
)
def test_a_create_that_does_not_say_what_it_rented_may_have_rented(rig: Rig, reply: Reply) -> None:
    rig.server.faults.answer_after("PUT", ASK, reply)
    with pytest.raises(Unavailable):
        rig.create("t1")
    assert rig.server.calls("PUT", ASK) == 1
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["t1"]


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(status=429, json={"detail": "too frequent endpoint threshold=4.5"}), 4.5),
        (Reply(status=429, text="too frequent: endpoint threshold=2.0*1.5"), 3.0),
        (Reply(status=429, json={"error": "x", "retry_after": 7}), 7.0),
        (Reply(status=429, json={}, headers={"Retry-After": "9"}), 9.0),
        (Reply(status=429, text="slow down"), None),
    ],
)
def test_a_rate_limited_create_rented_nothing_and_says_how_long_to_wait(
    rig: Rig, reply: Reply, wait: float | None
) -> None:
    rig.server.faults.answer("PUT", ASK, reply)
    with pytest.raises(RateLimited) as raised:
        rig.create()
    assert raised.value.retry_after == wait
    assert rig.server.calls("PUT", ASK) == 1


# Bids.


def test_an_interruptible_pod_is_rented_at_its_bid_and_an_on_demand_one_without(rig: Rig) -> None:
    cheap = rig.running("t1", offer=rig.offer(BIDS))
    full = rig.running("t2", offer=rig.offer(ON_DEMAND))
    assert (cheap.interruptible, full.interruptible) == (True, False)
    bodies = [e.request.json() for e in rig.server.exchanges if "asks" in e.request.path]
    assert [b.get("price") for b in bodies] == [0.198, None]
    assert cheap.hourly_usd is not None
    assert full.hourly_usd is not None
    assert cheap.hourly_usd < full.hourly_usd


def test_a_pod_is_never_rented_in_another_kind_than_its_offer(rig: Rig) -> None:
    bid, full = rig.offer(BIDS), rig.offer(ON_DEMAND)
    for offer in (replace(bid, interruptible=False), replace(full, interruptible=True)):
        with pytest.raises(Refused):
            rig.create(offer=offer)
    assert rig.server.calls("PUT", ASK) == 0


def test_a_machine_costs_what_its_offer_said(rig: Rig) -> None:
    for number, query in enumerate([BIDS, ON_DEMAND]):
        offer = rig.offer(query)
        machine = rig.running(f"t{number}", offer=offer)
        assert machine.hourly_usd == offer.hourly_usd


# Names and secrets.


def test_a_name_that_does_not_end_with_its_token_is_refused(rig: Rig) -> None:
    spec = a_spec("t1", rig.offer())
    with pytest.raises(Refused):
        rig.provider.create(spec, token="t2")
    assert rig.server.calls("PUT", ASK) == 0


@pytest.mark.fault(68)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_no_secret_comes_back_in_an_error(
    rig: Rig, status: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [KEY, "p4ssw0rd of redis", "instance-key-7"]
    echo = f"Bearer {KEY} {secrets[1]} \x1b[31m<script>"
    said = {"error": echo, "msg": echo, "new_contract": 7, "instance_api_key": secrets[2]}
    rig.server.faults.answer("PUT", ASK, Reply(status=status, json=said))
    with pytest.raises(ProviderError) as raised:
        rig.create(env={"PODFLEET_REDIS_URL": secrets[1]})
    chain: BaseException | None = raised.value
    told = repr(rig.provider) + caplog.text + "".join(capfd.readouterr())
    while chain is not None:
        told += f"{chain!r} {chain} {chain.args}"
        chain = chain.__cause__ or chain.__context__
    assert not [s for s in secrets if s in told]
    assert "\x1b" not in told
