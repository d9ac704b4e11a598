"""What the rows of accounts, surveys and pods say to people and to the next call."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pods.accounts import connecting, editing, machine_logs, surveying
from pods.base import counters
from pods.base.typed_json import check_object
from pods.costs import segments
from pods.costs.columns import with_cost
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, PodEvent, Survey
from pods.providers.base import Capabilities, Offer, OfferQuery, Offers
from pods.providers.errors import AuthFailed, ProviderError, Unavailable
from pods.rules import PodRule
from pods.states import READY, TERMINATING
from tests.support.factories import NOON, a_pod, an_account
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db


def test_a_refusal_says_whether_the_key_is_the_stored_one() -> None:
    an_account(name="other", sealed_secret="of the other")
    for stored, given in (("x", "y"), ("", "of the other")):
        account = an_account(sealed_secret=stored)
        account.sealed_secret = given
        refusing = OneMachine(Pod(), fails={"list": AuthFailed("no")})
        tried = editing.try_account(account, connect=refusing.connect)
        assert (tried.good, tried.says) == (False, "local refuses the key that was given: no")


@pytest.mark.parametrize(
    ("has_balance", "secret", "says"),
    [
        (True, "env:KEY", "local accepts the key: 1 machine of ours, $5.00 left"),
        (True, "", "local answers without a key: 1 machine of ours, $5.00 left"),
        (False, "env:KEY", "local accepts the key: 1 machine of ours"),
        (False, "v1:sealed", "local accepts the key: 1 machine of ours"),
    ],
)
def test_a_good_try_says_what_was_found(has_balance: bool, secret: str, says: str) -> None:
    vendor = OneMachine(a_pod(), usd=Decimal(5))
    vendor.capabilities = Capabilities(has_balance=has_balance)
    where = "sealed_secret" if secret.startswith("v1:") else "secret_ref"
    tried = editing.try_account(an_account(**{where: secret}), connect=vendor.connect)
    assert (tried.good, tried.machines, tried.says) == (True, 1, says)


def test_a_disabled_account_is_not_tried_and_its_options_count_when_they_change() -> None:
    an_account(name="other", options={"capacity": "many"})
    good = an_account(enabled=False)
    vendor = OneMachine(Pod(), fails={"list": AuthFailed("no")})
    assert editing.check_account(good, connect=vendor.connect).good is None
    good.options = {"capacity": "many"}
    with pytest.raises(ValidationError, match="capacity is 'many'"):
        editing.check_account(good, connect=vendor.connect)
    good.save()  # as an older version may have
    assert editing.check_account(good, connect=vendor.connect).good is None
    new = Account(name="new", provider="local", enabled=False, options={"capacity": "many"})
    with pytest.raises(ValidationError, match="capacity is 'many'"):
        editing.check_account(new, connect=vendor.connect)
    assert vendor.asked == []
    good.enabled = True
    with pytest.raises(ValidationError, match="local refuses"):
        editing.check_account(good, connect=vendor.connect)


@pytest.mark.parametrize(
    ("most", "said", "partial"),
    [
        (2, "", ""),
        (1, "", "only the 1 cheapest of 2 offers are kept"),
        (1, "a page failed", "a page failed"),
    ],
)
def test_a_survey_that_keeps_not_all_offers_says_so(
    time: SteppedClock, monkeypatch: pytest.MonkeyPatch, most: int, said: str, partial: str
) -> None:
    monkeypatch.setattr(surveying, "MOST_OFFERS", most)
    other, account = an_account(), an_account()
    for each in (other, account):
        Survey.objects.create(account=each, digest="d", query={"gpu_count": 2}, tried_at=NOON)
    vendor = OneMachine(Pod())
    rented = [Offer(key=str(usd), hourly_usd=Decimal(usd)) for usd in (2, 1)]
    vendor.for_rent = Offers(rented, partial=said)
    surveying.survey_account(account, connect=vendor.connect)
    account.refresh_from_db()
    other.refresh_from_db()
    mine, others = account.surveys.get(), other.surveys.get()
    assert account.survey_partial == mine.partial == partial
    for each in (account, mine):
        assert [offer["key"] for offer in each.offers] == ["1", "2"][:most]
    assert (other.offers, others.offers) == ([], [])


@pytest.mark.parametrize("value", [["a"], {"a": float("inf")}, {"a": "x\0"}])
def test_what_a_database_cannot_store_is_refused(value: Any) -> None:
    check_object("options", {"a": "x"})
    with pytest.raises(ValidationError):
        check_object("options", value)


def test_an_event_of_a_pod_is_never_changed() -> None:
    a_pod()
    event = PodEvent.objects.get()
    with pytest.raises(TypeError, match="is history"):
        event.save()


def test_the_cost_of_each_pod_is_that_of_its_own_segments(time: SteppedClock) -> None:
    pods = [a_pod(state=READY, hourly_usd=Decimal(usd), done=usd * 10**6) for usd in (1, 3)]
    time.advance(3600)
    segments.reprice(pods[0], Decimal(4), now=time())
    time.advance(1800)
    shown = with_cost(Pod.objects.all(), time()).order_by("pk").values_list("cost_usd", flat=True)
    assert [round(usd, 6) for usd in shown] == [3.0, 4.5]
    million = with_cost(Pod.objects.all(), time()).order_by("pk").values_list("million_usd")
    assert [round(usd, 6) for (usd,) in million] == [3.0, 1.5]


@pytest.mark.parametrize(("fresh", "stood"), [(True, 60), (False, 0)])
def test_an_offer_has_stood_since_the_first_survey_without_a_break(
    time: SteppedClock, stood: int, *, fresh: bool
) -> None:
    account = an_account()
    offer = Offer(key="bid at 1", host="h1", hourly_usd=Decimal(1))
    other = Offer(key="no host", hourly_usd=Decimal(1))
    vendor = OneMachine(Pod(), for_rent=[offer, other])
    surveying.survey_account(account, connect=vendor.connect)
    if not fresh:
        account.offers_until = NOON + timedelta(seconds=30)
        account.save()
    time.advance(60)
    vendor.for_rent = [replace(offer, key="bid at 2"), other, replace(other, key="new")]
    surveying.survey_account(account, connect=vendor.connect)
    [survey] = surveying.known_offers([account])
    waits = {each.key: survey.stood_for(each) for each in survey.offers}
    old = timedelta(seconds=stood)
    assert waits == {"bid at 2": old, "no host": old, "new": timedelta(0)}


def test_only_calls_of_an_account_with_a_row_are_counted(redis_url: str) -> None:
    connecting._count_call(None, "list", "ok", 0.5)
    connecting._count_call(7, "list", "ok", 0.5)
    calls = {field: n for field, n in counters.read().items() if field[0] == "calls"}
    assert calls == {("calls", "7", "list", "ok"): 1}


def test_a_duration_is_counted_in_its_bucket(redis_url: str) -> None:
    for seconds in (7, 9999):
        counters.took("spawn", seconds, "local")
    found = counters.read()
    assert {field[2]: n for field, n in found.items()} == {"10": 1, "+Inf": 1, "sum": 10_006}


def test_nothing_waits_for_a_count_at_a_redis_that_did_not_answer(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/7"
    counters.count("tries")

    def refused(_url: str) -> None:
        raise AssertionError("it was asked again")

    monkeypatch.setattr(counters, "redis_client", refused)
    counters.count("tries")


@pytest.mark.parametrize("bundle", ["", "ab" * 32])
def test_a_machine_with_code_gets_the_bootstrap_and_no_start_command(bundle: str) -> None:
    pod = a_pod(start_command="serve 'two words'")
    pod.agent = {**pod.agent, "bundle": bundle}
    spec = connecting.spec(pod, redis_url="redis://h")
    assert (spec.args, bool(spec.command)) == (
        ((), True) if bundle else (["serve", "two words"], False)
    )


def test_a_disabled_account_with_a_refused_key_can_be_saved() -> None:
    account = an_account()
    vendor = OneMachine(Pod(), fails={"list": AuthFailed("no")})
    with pytest.raises(ValidationError, match="nothing was changed"):
        editing.check_account(account, connect=vendor.connect)
    account.enabled = False
    assert editing.check_account(account, connect=vendor.connect).good is None


def test_a_wish_says_only_what_it_asks_for() -> None:
    survey = Survey(query={"gpu_types": ["H100", "A100"], "disk_gb": 40, "gpu_count": 1})
    assert surveying.words_of(survey) == "GPU H100 or A100, Disk 40 GB"


def test_the_names_of_all_stored_offers_are_known_without_empty_ones() -> None:
    account = an_account(offers=[{"gpu_type": "A100"}, {"gpu_type": ""}, {}])
    Survey.objects.create(account=account, digest="d", query={}, offers=[{"gpu_type": "H100"}])
    assert surveying.names_seen("gpu_type") == {"A100", "H100"}


@pytest.mark.parametrize(
    ("row", "wish", "asks"),
    [
        ({}, {}, False),
        ({"offers_until": NOON}, {}, True),
        ({"offers_until": None}, {}, True),
        ({"survey_partial": "a page failed"}, {}, True),
        ({}, {"disk_gb": 19}, True),
        ({}, {"gpu_count": 2}, True),  # a price list is read for one number of GPUs
    ],
)
def test_a_wish_is_asked_for_unless_the_whole_list_is_known(
    time: SteppedClock, row: dict[str, Any], wish: dict[str, Any], *, asks: bool
) -> None:
    account = an_account(**{"offers_until": NOON + timedelta(seconds=1), **row})
    surveying.keep_wishes(account, [OfferQuery(**{"min_vram_gb": 24, "disk_gb": 20, **wish})])
    assert account.surveys.exists() is asks


FAILED: dict[str, Any] = {"failed_at": NOON, "retire_rule": PodRule.NEVER_BOOTED.value}


@pytest.mark.parametrize(
    ("row", "asks"),
    [
        (FAILED, True),
        ({**FAILED, "failed_at": None}, False),
        ({**FAILED, "done": 1}, False),
        ({**FAILED, "done": 1, "retire_rule": PodRule.AGENT_FAILED.value}, True),
        ({**FAILED, "retire_rule": PodRule.ABSENT.value}, True),
        ({**FAILED, "retire_rule": PodRule.ABSENT.value, "interruptible": True}, False),
        ({**FAILED, "interruptible": True}, True),
        ({**FAILED, "output_asked_at": NOON}, False),
        ({**FAILED, "external_id": None}, False),
    ],
)
def test_the_output_is_asked_for_once_where_it_may_say_why_a_pod_failed(
    time: SteppedClock, row: dict[str, Any], *, asks: bool
) -> None:
    pod, other = a_pod(state=TERMINATING, **row), a_pod(state=TERMINATING)
    before = pod.output_asked_at
    vendor = OneMachine(pod)
    machine_logs.keep_last_output(pod, connect=vendor.connect)
    pod.refresh_from_db()
    other.refresh_from_db()
    assert vendor.asked == (["logs"] if asks else [])
    assert pod.output_asked_at == (NOON if asks else before)
    assert other.output_asked_at is None


@pytest.mark.parametrize("error", [Unavailable("no answer"), None])
def test_what_is_kept_of_the_output_has_no_values_of_the_handlers_environment(
    time: SteppedClock, error: ProviderError | None
) -> None:
    pod = a_pod(
        state=TERMINATING, handler_env={"WORD": "confidential", "API_KEY": "k3y-of-it"}, **FAILED
    )
    vendor = OneMachine(pod, output="it said confidential and k3y-of-it")
    vendor.fails = {} if error is None else {"logs": error}
    machine_logs.keep_last_output(pod, connect=vendor.connect)
    pod.refresh_from_db()
    assert pod.last_output == ("" if error else "it said *** and ***")
    assert Account.objects.get().failures == 0
    if error is None:
        assert machine_logs.logs_of(pod, connect=vendor.connect) == ("it said confidential and ***")


def test_the_offers_that_are_known_are_those_of_the_accounts_and_of_the_wish() -> None:
    account, other = an_account(), an_account()
    for owner, digest in ((account, "mine"), (account, "another"), (other, "mine")):
        Survey.objects.create(account=owner, digest=digest, query={}, partial=digest)

    def partials(wish: str | None) -> list[str]:
        return [found.partial for found in surveying.known_offers([account], wish=wish)]

    assert partials(None) == ["mine", "another", ""]
    assert partials("mine") == ["mine", ""]


@pytest.mark.parametrize(
    ("at", "until", "fresh_until"),
    [
        (None, None, None),
        (NOON, None, NOON + surveying.OFFERS_LAST),  # of an older version
        (NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=1)),
    ],
)
def test_until_when_the_offers_of_a_survey_are_fresh(at: Any, until: Any, fresh_until: Any) -> None:
    account = an_account(surveyed_at=at, offers_until=until)
    [found] = surveying.known_offers([account])
    assert found.until == fresh_until
    if fresh_until is not None:
        assert found.is_fresh(fresh_until - timedelta(seconds=1))
        assert not found.is_fresh(fresh_until)
