"""A provider as the manager uses it, on a real Valkey: calls are logged and paced, offers are kept."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from structlog.testing import capture_logs

from pods.accounts import connecting
from pods.base.redis import redis_client
from pods.emulators.base import Reply
from pods.providers import registry
from pods.providers.base import Capabilities, Machine, Offer, OfferQuery, Offers, Phase, Provider
from pods.providers.errors import NoCapacity, NotFound, ProviderError, RateLimited, Unavailable
from pods.providers.observed import Observed
from pods.providers.pacing import Pacer
from tests.support.factories import an_account
from tests.support.rigs.runpod_rig import ENV, KEY, PODS, TAG, Rig, a_spec, runpod

CATALOG = "/v2/catalog/gpus"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return redis_client(redis_url)


@pytest.fixture
def observed(rig: Rig, client: "redis.Redis") -> Observed:
    return Observed(rig.provider, account="runpod-main", client=client)


def paced(rig: Rig, client: "redis.Redis", account: str) -> Provider:
    """The account at six requests a minute, counted in Redis."""
    return registry.create_provider(
        "runpod",
        options={"base_url": rig.server.url, "requests_per_minute": 6},
        secret=KEY,
        make_pacer=lambda rates: Pacer(client, account, rates),
    )


def test_the_life_of_a_machine_is_logged_with_its_ids(rig: Rig, observed: Observed) -> None:
    offer = rig.offer().key
    with capture_logs() as events:
        machine = observed.create(a_spec("aa11", offer), token="aa11")
        observed.status(machine.external_id)
        observed.list_tagged(TAG)
        rig.clock.advance(60)
        observed.stop(machine.external_id)
        observed.start(machine.external_id)
        observed.destroy(machine.external_id)
    told = [(e["event"], e["log_level"]) for e in events]
    assert told == [
        ("machine_created", "info"),
        ("machine_read", "debug"),
        ("machines_listed", "debug"),
        ("machine_stop_asked", "info"),
        ("machine_start_asked", "info"),
        ("machine_destroy_asked", "info"),
    ]
    assert all(e["account"] == "runpod-main" and e["milliseconds"] >= 0 for e in events)
    assert {**events[0], "milliseconds": 0} == {
        "event": "machine_created",
        "log_level": "info",
        "account": "runpod-main",
        "name": f"{TAG}-aa11",
        "offer": offer,
        "external_id": machine.external_id,
        "milliseconds": 0,
    }


def test_a_failure_is_logged_and_raised(rig: Rig, observed: Observed) -> None:
    rig.server.faults.answer("", ".*", Reply(status=500), times=100)
    with capture_logs() as events, pytest.raises(Unavailable):
        observed.list_tagged(TAG)
    failed = [e for e in events if e["event"] == "provider_failed"]
    assert [(e["wanted"], e["error"], e["log_level"]) for e in failed] == [
        ("machines_listed", "Unavailable", "warning")
    ]


def test_a_declined_call_is_not_a_warning(observed: Observed) -> None:
    with capture_logs() as events, pytest.raises(NotFound):
        observed.status("unknown")
    assert [e["log_level"] for e in events] == ["info"]


@pytest.mark.fault(68)
@pytest.mark.parametrize("status", [201, 400, 401, 422, 500])
def test_no_event_and_no_log_holds_the_key_or_the_environment(
    rig: Rig, observed: Observed, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    offer = rig.offer().key
    if status != 201:
        echo = {"title": "No", "status": status, "detail": f"{KEY} {ENV}"}
        rig.server.faults.answer("POST", PODS, Reply(status=status, json=echo))
    with capture_logs() as events:
        outcome: object
        try:
            outcome = observed.create(a_spec("aa11", offer), token="aa11")
        except ProviderError as exc:
            outcome = exc
    shown = f"{events} {caplog.text} {observed!r} {outcome!r}"
    assert KEY not in shown
    assert "s3cretpassword" not in shown


def test_offers_are_asked_for_once_within_their_time(rig: Rig, observed: Observed) -> None:
    query = OfferQuery(gpu_types=["RTX 4090"])
    first = observed.offers(query)
    assert first
    assert observed.offers(query) == first
    assert rig.server.calls("GET", CATALOG) == 2  # one per cloud
    observed.offers(OfferQuery(gpu_types=["RTX A5000"]))
    assert rig.server.calls("GET", CATALOG) == 4


def test_offers_that_are_not_kept_are_asked_for_each_time_without_a_warning(
    rig: Rig, observed: Observed
) -> None:
    with capture_logs() as events:
        observed.offers(OfferQuery())
        observed.capabilities = replace(observed.capabilities, offers_ttl=timedelta(0))
        observed.offers(OfferQuery())
        observed.offers(OfferQuery(gpu_count=2))
    assert [event["event"] for event in events] == ["offers_listed"] * 3
    assert rig.server.calls("GET", CATALOG) == 6


def test_kept_offers_expire(rig: Rig, client: "redis.Redis", observed: Observed) -> None:
    observed.offers(OfferQuery())
    (key,) = client.keys("podfleet:offers:*")
    assert 0 < client.pttl(key) <= observed.capabilities.offers_ttl / timedelta(milliseconds=1)
    client.delete(key)
    observed.offers(OfferQuery())
    assert rig.server.calls("GET", CATALOG) == 4


def test_another_accounts_offers_are_not_taken_for_ours(
    rig: Rig, client: "redis.Redis", observed: Observed
) -> None:
    observed.offers(OfferQuery())
    Observed(rig.provider, account="runpod-second", client=client).offers(OfferQuery())
    assert rig.server.calls("GET", CATALOG) == 4


@pytest.mark.parametrize(
    "kept", [b"no json", b"{}", b'[{"key": 1}]', b'[{"hourly_usd": "x"}]', b"[7]"]
)
def test_kept_offers_that_cannot_be_read_are_asked_for_again(
    rig: Rig, client: "redis.Redis", observed: Observed, kept: bytes
) -> None:
    before = observed.offers(OfferQuery())
    (key,) = client.keys("podfleet:offers:*")
    client.set(key, kept)
    assert observed.offers(OfferQuery()) == before
    assert rig.server.calls("GET", CATALOG) == 4


def test_a_kept_offer_is_read_back_unchanged(rig: Rig, client: "redis.Redis") -> None:
    offer = Offer(
        key="28471022",
        hourly_usd=Decimal("0.3520001"),
        gpu_type="RTX 4090",
        gpu_count=2,
        vram_gb=24,
        region="Québec, CA",
        interruptible=True,
        reliability=0.9971,
        host="18237",
        remaining=timedelta(days=3, seconds=0.5),
        stopped_hourly_usd=Decimal("0.007"),
    )

    class Market:
        name = "market"
        capabilities = rig.provider.capabilities

        def offers(self, query: OfferQuery) -> list[Offer]:
            return [offer]

    market: Any = Observed(Market(), account="m", client=client)  # type: ignore[arg-type]
    assert list(market.offers(OfferQuery())) == [offer]
    assert list(market.offers(OfferQuery())) == [offer]


@pytest.mark.parametrize(("cut_short", "asked"), [(False, 1), (True, 2)])
def test_a_partial_answer_is_kept_as_one_unless_a_later_look_may_read_more(
    rig: Rig, client: "redis.Redis", *, cut_short: bool, asked: int
) -> None:
    calls: list[OfferQuery] = []

    class Market:
        name = "market"
        capabilities = rig.provider.capabilities

        def offers(self, query: OfferQuery) -> Offers:
            calls.append(query)
            offer = Offer(key="1", hourly_usd=Decimal(1))
            return Offers([offer], partial="there are more", cut_short=cut_short)

    market: Any = Observed(Market(), account="m", client=client)  # type: ignore[arg-type]
    for _ in range(2):
        assert market.offers(OfferQuery()).partial == "there are more"
    assert len(calls) == asked


def test_a_search_that_failed_is_not_kept(
    rig: Rig, client: "redis.Redis", observed: Observed
) -> None:
    rig.server.faults.answer("GET", CATALOG, Reply(json={}))
    with pytest.raises(Unavailable):
        observed.offers(OfferQuery())
    assert client.keys("podfleet:offers:*") == []
    assert observed.offers(OfferQuery())


@pytest.mark.fault(45)
def test_without_redis_every_call_still_works(rig: Rig) -> None:
    dead = redis.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    observed = Observed(rig.provider, account="runpod-main", client=dead)
    machine = observed.create(a_spec("aa11", observed.offers(OfferQuery())[0].key), token="aa11")
    observed.destroy(machine.external_id)
    assert rig.made() == []


@pytest.mark.fault(50)
def test_an_accounts_pace_is_kept_over_all_its_calls_and_pages(
    client: "redis.Redis",
) -> None:
    with runpod(page_size=1) as rig:
        slow = paced(rig, client, "runpod-main")
        observed = Observed(slow, account="runpod-main", client=client)
        assert slow.capabilities.rates["*"].burst == 1
        observed.list_tagged(TAG)
        with pytest.raises(RateLimited) as caught:
            observed.list_tagged(TAG)
        assert caught.value.retry_after == pytest.approx(12, abs=1)
        assert rig.server.calls() == 1


@pytest.mark.fault(50)
@pytest.mark.django_db
def test_every_connection_to_an_account_counts_against_one_pace(
    rig: Rig, redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = redis_url
    monkeypatch.setenv("KEY_OF_THE_ACCOUNT", KEY)
    options = {"base_url": rig.server.url, "requests_per_minute": 6}
    row = an_account(provider="runpod", secret_ref="env:KEY_OF_THE_ACCOUNT", options=options)
    connecting.connect(row).list_tagged(TAG)
    with pytest.raises(RateLimited):
        connecting.connect(row).list_tagged(TAG)
    assert rig.server.calls() == 1


def test_a_create_that_waits_for_its_turn_has_not_been_sent(
    rig: Rig, client: "redis.Redis"
) -> None:
    observed = Observed(paced(rig, client, "a"), account="a", client=client)
    offer = rig.offer().key
    observed.list_tagged(TAG)
    with pytest.raises(RateLimited):
        observed.create(a_spec("aa11", offer), token="aa11")
    assert rig.made() == []


def test_the_capabilities_are_those_of_the_provider(rig: Rig, observed: Observed) -> None:
    assert (observed.name, observed.capabilities) == ("runpod", rig.provider.capabilities)


def test_a_full_market_is_reported_unchanged(rig: Rig, observed: Observed) -> None:
    for gpu in rig.state.catalog:
        gpu.stock = dict.fromkeys(gpu.stock, 0)
    with pytest.raises(NoCapacity):
        observed.create(a_spec("aa11", "SECURE:NVIDIA RTX A5000:1:CA-MTL-1"), token="aa11")


class Broken:
    """An adapter with a mistake in each method."""

    name = "broken"
    capabilities = Capabilities()

    def __getattr__(self, _method: str) -> Any:
        def raises(*_: Any, **__: Any) -> Any:
            raise KeyError("price")

        return raises


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.offers(OfferQuery()),
        lambda p: p.create(a_spec("aa11", "x"), token="aa11"),
        lambda p: p.status("m1"),
        lambda p: p.list_tagged(TAG),
        lambda p: p.stop("m1"),
        lambda p: p.start("m1"),
        lambda p: p.destroy("m1"),
        lambda p: p.logs("m1"),
        lambda p: p.balance(),
    ],
    ids=["offers", "create", "status", "list", "stop", "start", "destroy", "logs", "balance"],
)
def test_an_error_that_no_adapter_may_raise_says_nothing_of_what_was_done(
    client: "redis.Redis", call: Callable[[Provider], Any]
) -> None:
    with (
        capture_logs() as events,
        pytest.raises(Unavailable, match="adapter of broken raised KeyError; see the log"),
    ):
        call(Observed(Broken(), account="a", client=client))
    assert [(e["event"], e["log_level"]) for e in events] == [("provider_broke", "error")]


@pytest.mark.parametrize(
    "answer", [None, Machine(external_id="", token="t", name="n", phase=Phase.RUNNING)]
)
def test_an_adapter_that_names_no_machine_may_have_made_one(
    rig: Rig, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch, answer: Machine | None
) -> None:
    monkeypatch.setattr(rig.provider, "create", lambda *_, **__: answer)
    with pytest.raises(Unavailable):
        Observed(rig.provider, account="a", client=client).create(a_spec("a", "x"), token="a")


def test_each_call_is_counted_by_how_it_ended(rig: Rig, client: "redis.Redis") -> None:
    told: list[tuple[str, str]] = []
    observed = Observed(
        rig.provider, account="a", client=client, counted=lambda *call: told.append(call[:2])
    )
    observed.list_tagged(TAG)
    with pytest.raises(NotFound):
        observed.status("nothing")
    broken = Observed(Broken(), account="a", client=client, counted=lambda *c: told.append(c[:2]))
    with pytest.raises(Unavailable):
        broken.list_tagged(TAG)
    assert told == [("list", "ok"), ("status", "NotFound"), ("list", "Unavailable")]
